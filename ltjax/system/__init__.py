"""The world outside: devices, files, signals, streams and time, each in one place."""
