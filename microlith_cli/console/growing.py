r"""The tree of one correlation while it grows, drawn over itself at the bottom of a terminal.

Nothing is drawn at first, for most of what is sent has ended before anybody could read; later at most ten times
a second. What is written to the same terminal meanwhile stands above the drawing. The terminal is left as it
was found, however this ends: no mode of it is changed, and the cursor rests below the last row.

Draws nothing where nothing can be drawn over: no terminal, one that cannot move its cursor, or the background.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import RLock, current_thread, main_thread
from time import monotonic, time
from typing import TYPE_CHECKING, Any, TextIO, cast

from microlith_cli.console.ink import IMMOVABLE
from microlith_cli.console.plain import settings, write
from microlith_cli.plurals import plural

if TYPE_CHECKING:
    from microlith_cli.causation import Tree

Fact = Mapping[str, Any]

FIRST_SECONDS = 0.15
"""Nothing is drawn before."""
_PAUSE_SECONDS = 0.1
_SHARE = 10
"""The pause is at least so many times as long as a drawing took."""
_FEWEST_ROWS = 6
_HEAD_ROWS = 2


class Growth:
    """A tree that is drawn again as it grows; `show_growth` makes one.

    Args:
        stream: The terminal.
        seconds: A clock that never goes back.

    Attributes:
        was_drawn: Whether anything was drawn at all.
    """

    def __init__(self, stream: TextIO, *, seconds: Callable[[], float] = monotonic) -> None:
        self._stream = stream
        self._seconds = seconds
        self._next = float("inf")
        self._shown: list[int] = []  # how many cells each row takes that stands on the screen
        self._is_within_line = False
        self._lock = RLock()
        self.was_drawn = False

    def begin(self) -> None:
        """Count the time from now on: the message was sent."""
        self._next = self._seconds() + FIRST_SECONDS
        self._is_within_line = False  # whoever was asked something has answered

    def take(self, facts: Sequence[Fact], running: Sequence[Fact] = (), *, at_once: bool = False) -> None:
        """Draw what is known by now, if it is time to.

        Args:
            facts: All facts so far.
            running: The handlings under way, as facts.
            at_once: Whether it is time in any case.
        """
        now = self._seconds()
        if (now < self._next and not at_once) or not facts:
            return
        with self._lock:
            if self._is_within_line or not _is_in_front(self._stream):
                return
            self._draw(known_facts(facts, running))
        ended = self._seconds()
        self._next = ended + max(_PAUSE_SECONDS, _SHARE * (ended - now))

    def clear(self) -> None:
        """Take the drawing off the screen."""
        with self._lock:
            if height := self._height():
                # Row by row: some terminals keep what is erased from the top in their history.
                self._put(f"\r\x1b[{height}A" + "\x1b[2K\n" * height + f"\x1b[{height}A")
                self._shown = []

    def make_way(self, text: str) -> None:
        """Make room for a text that somebody is about to write to the terminal."""
        with self._lock:
            self.clear()
            self._is_within_line = not text.endswith("\n")

    def forget(self) -> None:
        """Leave on the screen what stands there, and draw below it from now on."""
        with self._lock:
            self._shown = []

    def _draw(self, facts: Iterable[Fact]) -> None:
        columns, lines = _size(self._stream)
        if lines < _FEWEST_ROWS:
            return
        rows = list(_rows(facts, self._stream, columns, lines - 1))
        way_up = f"\r\x1b[{height}A" if (height := self._height()) else "\r"
        self._put(way_up + "".join(f"{row}\x1b[K\n" for row, _ in rows) + "\x1b[J")
        self._shown = [width for _, width in rows]
        self.was_drawn = True

    def _height(self) -> int:
        """How many lines the drawing takes; a terminal that has become narrower has broken the longer rows."""
        columns, lines = _size(self._stream)
        return min(sum(max(1, -(-width // columns)) for width in self._shown), lines - 1)

    def _put(self, text: str) -> None:
        # Line ends belong to the text: one write, so that nobody sees half a drawing.
        write(self._stream, text, end="")


class _Beside:
    """A stream to the same terminal: the drawing makes way for what is written to it."""

    def __init__(self, stream: TextIO, growth: Growth) -> None:
        self._stream = stream
        self._growth = growth

    def write(self, text: str) -> int:
        """Write, above the drawing."""
        if text:
            self._growth.make_way(text)
        return self._stream.write(text)

    def writelines(self, lines: Sequence[str]) -> None:
        """Write several texts, above the drawing."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def show_growth() -> Iterator[Growth | None]:
    """Let a tree grow on stderr while the block runs; None where it cannot be drawn, or is not wanted.

    What stands on the screen at the end stays there.
    """
    stream = sys.stderr
    if not _can_draw(stream):
        yield None
        return
    growth = Growth(stream)
    streams = sys.stdout, sys.stderr
    if _is_terminal(sys.stdout):
        sys.stdout = cast("TextIO", _Beside(sys.stdout, growth))
    sys.stderr = cast("TextIO", _Beside(stream, growth))
    # After a stop and `fg` the shell's lines stand in between.
    alone = current_thread() is main_thread()
    before = signal.signal(signal.SIGCONT, lambda _number, _frame: growth.forget()) if alone else None
    try:
        yield growth
    finally:
        if alone:
            signal.signal(signal.SIGCONT, before if before is not None else signal.SIG_DFL)
        sys.stdout, sys.stderr = streams


def _can_draw(stream: TextIO | None) -> bool:
    return settings.verbosity >= 0 and _is_terminal(stream) and os.environ.get("TERM", "") not in IMMOVABLE


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def _is_in_front(stream: TextIO) -> bool:
    """Whether the terminal is this process's to draw on: not so when a shell runs it in the background."""
    with suppress(OSError):
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    return True  # not the terminal that controls it, so nobody shares it


def _size(stream: TextIO) -> tuple[int, int]:
    with suppress(OSError, ValueError):
        size = os.get_terminal_size(stream.fileno())
        if size.columns and size.lines:
            return size.columns, size.lines
    return 80, 24


def known_facts(facts: Sequence[Fact], running: Sequence[Fact]) -> Iterator[Fact]:
    """Put facts together with the handlings under way; those of messages that are not known yet are told again."""
    yield from facts
    if running:
        known = {fact.get("id") for fact in facts}
        yield from (fact for fact in running if fact.get("causationid") in known)


def build_growing(facts: Iterable[Fact]) -> "list[Tree]":
    """Build trees that may not be done: those reach until now."""
    # Takes 5 ms, and most that is sent has ended before.
    from microlith_cli.causation import build_trees  # noqa: PLC0415

    trees = build_trees(facts)
    for tree in trees:
        if tree.unfinished:
            tree.ended = max(tree.ended or 0.0, time())
    return trees


def _rows(facts: Iterable[Fact], stream: TextIO, columns: int, most: int) -> Iterator[tuple[str, int]]:
    """Draw in no more rows than there is room for: the head, and what came last. Yields rows and their widths."""
    # Takes 10 ms, likewise.
    from microlith_cli.console.ink import Ink, Run, width_of  # noqa: PLC0415
    from microlith_cli.console.tree import tree_rows  # noqa: PLC0415

    found = Ink.of(stream)
    ink = Ink(min(found.width, columns), found.colored, found.unicode)
    rows: list[list[Run]] = []
    for tree in build_growing(facts):
        rows += tree_rows(tree, ink)
    if len(rows) > most:
        left_out = len(rows) - most + 1
        told = f"{ink.mark('more')} {plural(left_out, 'row')} for which there is no room"
        rows[_HEAD_ROWS : _HEAD_ROWS + left_out] = [ink.fit([(told, "dim")], ink.width)]
    for row in rows:
        yield ink.paint(row), width_of(row)
