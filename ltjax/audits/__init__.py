"""The statements of the source: put to the test, and what was found told."""
