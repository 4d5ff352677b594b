"""The lines that were typed in a project's shells: a file of this user's alone, in `.microlith/`.

Several shells may write at a time. A history that cannot be read or written is none; the shell works without.
"""

import os
from pathlib import Path

from microlith_cli.console.plain import escape
from microlith_cli.control.address import make_private, opened
from microlith_cli.errors import UnsafeDirectoryError

FILE = "shell_history"
_REMEMBERED = 1000
"""As many lines are read; the file is cut to them when it has twice as many."""
_MOST_BYTES = 4 << 20


class History:
    """Earlier lines.

    Args:
        directory: The project's `.microlith`.

    Attributes:
        lines: The oldest first.
        trouble: Why nothing is kept; empty when all is well.
    """

    def __init__(self, directory: Path) -> None:
        self.lines: list[str] = []
        self.trouble = ""
        self._directory = directory
        try:
            make_private(directory)
            self._read()
        except (OSError, UnsafeDirectoryError) as error:
            self.trouble = str(error)

    def add(self, line: str) -> None:
        """Keep a line, unless it is the last one again."""
        if not line.strip() or line != escape(line) or "\n" in line or self.lines[-1:] == [line]:
            return
        self.lines.append(line)
        if not self.trouble:
            try:
                self._write(f"{line}\n", os.O_APPEND)
            except (OSError, UnsafeDirectoryError) as error:
                self.trouble = str(error)

    def _read(self) -> None:
        with opened(self._directory) as folder:
            try:
                descriptor = os.open(FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            except FileNotFoundError:
                return
            with os.fdopen(descriptor, "rb") as file:
                text = file.read(_MOST_BYTES).decode("utf-8", "replace")
        found = [line for line in text.split("\n") if line.strip() and line == escape(line)]
        self.lines = found[-_REMEMBERED:]
        if len(found) > 2 * _REMEMBERED:
            self._write("".join(f"{line}\n" for line in self.lines), os.O_TRUNC)

    def _write(self, text: str, how: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | how
        with opened(self._directory) as folder:
            descriptor = os.open(FILE, flags, 0o600, dir_fd=folder)
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o600)
                file.write(text.encode("utf-8", "replace"))
