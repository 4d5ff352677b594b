"""News: lines that wait to be shown above the line that is typed.

They come from another thread or from the event loop; a descriptor tells when there are some. There is room
for a bounded number; what is beyond is counted.
"""

import os
from collections import deque
from contextlib import suppress

from microlith_cli.causation import STARTED, Fact
from microlith_cli.console.ink import Ink
from microlith_cli.console.lines import fact_line, notice_words
from microlith_cli.console.plain import escape

_ROOM = 500


class News:
    """Lines for whoever reads them next; each is safe to show.

    Args:
        ink: What they are written for.
    """

    def __init__(self, ink: Ink) -> None:
        self._ink = ink
        self._lines: deque[str] = deque()
        self._left_out = 0
        self._descriptor, self._bell = os.pipe()
        os.set_blocking(self._descriptor, False)
        os.set_blocking(self._bell, False)

    @property
    def descriptor(self) -> int:
        """Can be read when there is something new."""
        return self._descriptor

    def say(self, text: str) -> None:
        """Add a line that may hold data."""
        self._add(escape(text))

    def fact(self, fact: Fact) -> None:
        """Add a fact; that a handler began is none worth a line."""
        if fact.get("type") == STARTED:
            return
        if str(fact.get("type")).startswith("microlith.") and "causationid" not in fact:
            self._add("  ".join(notice_words(fact)).rstrip())
        else:
            self._add(fact_line(fact, self._ink))

    def ring(self) -> None:
        """Wake whoever waits for the descriptor."""
        with suppress(OSError):  # it has rung already, or is closed
            os.write(self._bell, b"!")

    def take(self) -> list[str]:
        """Return what has come since the last call."""
        with suppress(OSError):
            os.read(self._descriptor, 1 << 16)
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        left_out, self._left_out = self._left_out, 0
        return [*lines, *([f"{left_out:,} more were not shown"] if left_out else [])]

    def close(self) -> None:
        """Close the descriptors. Nothing may be added afterwards."""
        os.close(self._descriptor)
        os.close(self._bell)

    def _add(self, line: str) -> None:
        if len(self._lines) >= _ROOM:
            self._left_out += 1
            return
        self._lines.append(line)
        self.ring()
