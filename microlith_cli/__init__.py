"""The command-line tool `microlith`."""

VERSION = "0.1.0"
"""The version of the distribution; written here too, because reading it from the metadata takes 20 ms."""
