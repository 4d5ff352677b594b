"""The command-line tool `microlith`."""
