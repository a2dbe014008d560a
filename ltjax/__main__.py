"""`python -m ltjax` is `ltjax`."""

from ltjax.cli import program

if __name__ == "__main__":
    program()
