"""`python -m ltjax` is `ltjax`."""

from ltjax.cli.program import program

if __name__ == "__main__":
    program()
