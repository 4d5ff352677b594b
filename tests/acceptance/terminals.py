"""A command in a terminal of its own: keys go in, and what the screen shows comes out."""

import codecs
import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.acceptance.live_project import PATIENCE

_PIECE = re.compile(r"\x1b\[\??(?P<number>\d*)[;\d]*(?P<sequence>[A-Za-z])|(?P<character>[^\x1b])", re.DOTALL)

_START = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
sys.argv[0] = "microlith"
from microlith_cli.__main__ import main
sys.exit(main())
"""


class Terminal:
    """A process, the keyboard in front of it, and all that it wrote."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self.shown = ""
        self._descriptor = descriptor
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def press(self, keys: str | bytes) -> None:
        os.write(self._descriptor, keys.encode() if isinstance(keys, str) else keys)

    def shows(self, text: str, *, after: int = 0) -> int:
        """Wait until something was written; returns where it ends."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown[after:]:
            assert time.monotonic() < deadline, f"{text!r} is not in:\n{self.shown[after:]}"
            time.sleep(0.005)
        return self.shown.index(text, after) + len(text)

    def rows(self) -> list[str]:
        """What the rows of the screen hold, as far as lines are drawn anew."""
        rows, column = [""], 0
        for piece in _PIECE.finditer(self.shown):
            match piece["sequence"], piece["character"]:
                case "K", _:
                    rows[-1] = rows[-1][:column]
                case "C", _:
                    column += int(piece["number"] or 1)
                case _, "\r":
                    column = 0
                case _, "\n":
                    rows.append("")
                case _, str(character):
                    rows[-1] = rows[-1].ljust(column)[:column] + character + rows[-1][column + 1 :]
                    column += 1
        return [row.rstrip() for row in rows]

    def has_row(self, row: str) -> None:
        """Wait until the last row is this one."""
        deadline = time.monotonic() + PATIENCE
        while self.rows()[-1] != row:
            assert time.monotonic() < deadline, f"{row!r} is not the last of:\n" + "\n".join(self.rows())
            time.sleep(0.005)

    def echoes(self) -> bool:
        """Whether the terminal shows what is typed by itself, as it does while no line is edited."""
        return bool(termios.tcgetattr(self._descriptor)[3] & termios.ECHO)

    def ended(self) -> int:
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        with suppress(OSError):  # the other end is closed
            while data := os.read(self._descriptor, 4096):
                self.shown += decoder.decode(data)


@contextmanager
def terminal(
    root: Path, *arguments: str, columns: int = 80, environ: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    """Run `microlith` in a terminal for the length of a block."""
    outer, inner = os.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MICROLITH_", "COLUMNS"))}
    process = subprocess.Popen(
        [sys.executable, "-c", _START, *arguments],
        cwd=root,
        env={**clean, "TERM": "xterm", "NO_COLOR": "1", **(environ or {})},
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
    )
    os.close(inner)
    try:
        yield Terminal(process, outer)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(outer)
