"""The command line: the commands and their flags, what they print, and exit codes."""
