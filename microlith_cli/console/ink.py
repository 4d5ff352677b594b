"""Ink: what a stream can show, and text measured in the cells it takes there.

Marks and lines exist twice, in Unicode and in ASCII. Colours are the sixteen that follow the
user's own theme. Nothing is told by colour alone.

Rich could do this too, and takes longer to import than a trace takes to show.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TextIO
from unicodedata import category, east_asian_width

from microlith_cli.console.plain import escape, wants_color

Run = tuple[str, str]
"""A piece of text and the name of its style; an empty name is no style."""

STYLES = {
    "command": "1;94",
    "event": "33",
    "query": "36",
    "response": "36",
    "": "",
    "bold": "1",
    "dim": "2",
    "ok": "32",
    "unfinished": "33",
    "cancelled": "33",
    "failed": "31",
    "failed bold": "1;31",
    "warning": "33",
    "place": "4",
}
GROUPS = ("35", "96", "92", "95", "34", "37")
"""Colours that tell correlations apart; none of them stands for a kind or an outcome."""
_CODES = STYLES | {code: code for code in GROUPS}
"""Nothing else becomes an escape sequence: a name that is none of these must not reach a terminal as one."""

_UNICODE = {
    "command": "►",
    "event": "◇",
    "query": "?",
    "response": "◄",
    "": "·",
    "ok": "✓",
    "failed": "✗",
    "timeout": "✗",
    "cancelled": "⊘",
    "retried": "↻",
    "ignored": "○",
    "running": "…",
    "unfinished": "…",
    "to": "→",
    "more": "⋮",
    "dots": "…",
    "tee": "├─",
    "tee dashed": "├╌",
    "end": "└─",
    "end dashed": "└╌",
    "bar": "│",
    "queued": "─",
    "worked": "━",
    "working": "╍",
    "times": "·",
    "micro": "µs",
}
_ASCII = {
    "command": ">",
    "event": "*",
    "query": "?",
    "response": "<",
    "": "-",
    "ok": "+",
    "failed": "x",
    "timeout": "x",
    "cancelled": "/",
    "retried": "^",
    "ignored": "o",
    "running": "~",
    "unfinished": "~",
    "to": "->",
    "more": ":",
    "dots": "..",
    "tee": "|-",
    "tee dashed": "|.",
    "end": "`-",
    "end dashed": "`.",
    "bar": "|",
    "queued": ".",
    "worked": "=",
    "working": "~",
    "times": "-",
    "micro": "us",
}
_DURATIONS = (
    (0.9995, 0.001, "{:.0f} {micro}"),
    (9.95, 1, "{:.1f} ms"),
    (999.5, 1, "{:.0f} ms"),
    (9995, 1000, "{:.2f} s"),
    (59950, 1000, "{:.1f} s"),
)
"""Below how many milliseconds a unit of how many is used, and how it is written."""
IMMOVABLE = frozenset({"", "dumb", "unknown", "network", "dialup"})
"""Terminals, by their `TERM`, whose cursor goes forward only."""
_UNKNOWN_WIDTH = 100
_NARROWEST, _WIDEST = 20, 400
_MOST_MARKS = 4
"""As many combining marks may stand on one character."""
_MARK_FLOOD = re.compile(
    r"([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u200c\u200d\u20d0-\u20ff\ufe00-\ufe2f]{4})[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u200c\u200d\u20d0-\u20ff\ufe00-\ufe2f]+"
)


@dataclass(frozen=True, slots=True)
class Ink:
    """What one stream can show.

    Attributes:
        width: Cells in a line.
        colored: Whether styles become escape sequences.
        unicode: Whether the marks are drawn, or made of ASCII.
    """

    width: int = _UNKNOWN_WIDTH
    colored: bool = False
    unicode: bool = True

    @classmethod
    def of(cls, stream: TextIO) -> "Ink":
        """Find out what a stream can show."""
        return cls(_width(stream), wants_color(stream), _shows_unicode(stream))

    def mark(self, name: str) -> str:
        """Return the mark for a kind of message, an outcome or a part of a drawing."""
        return (_UNICODE if self.unicode else _ASCII).get(name, "?")

    def paint(self, runs: Iterable[Run]) -> str:
        """Join runs into a line, in colour where the stream shows it."""
        if not self.colored:
            return "".join(text for text, _ in runs).rstrip()
        return "".join(_painted(text, _CODES.get(style, "")) for text, style in runs)

    def fit(self, runs: Iterable[Run], width: int) -> list[Run]:
        """Cut runs so that they take no more cells; what is cut ends in dots."""
        fitting: list[Run] = []
        left = width
        waiting = list(runs)
        total = sum(cells(text) for text, _ in waiting)
        for text, style in waiting:
            if total <= width:
                fitting.append((text, style))
            elif cells(text) < left:
                fitting.append((text, style))
                left -= cells(text)
            else:
                fitting.append((self.cut(text, left, always=True), style))
                break
        return fitting

    def cut(self, text: str, width: int, *, always: bool = False) -> str:
        """Cut a text that takes more cells, or cut it in any case, so that it ends in dots."""
        if not always and cells(text) <= width:
            return text
        dots = self.mark("dots")
        return first_cells(text, max(0, width - cells(dots))) + dots[: max(0, width)]

    def wrap(self, text: str, width: int, most: int) -> Iterator[str]:
        """Break a text into lines, at its own line breaks and at spaces; the last of too many ends in dots."""
        lines = [part for line in text.splitlines() or [""] for part in _broken(line, max(8, width))]
        yield from lines[: most - 1] if len(lines) > most else lines
        if len(lines) > most:
            yield self.cut(lines[most - 1], max(8, width), always=True)


def one_line(text: object, most: int = 4096) -> str:
    r"""Make any text safe and one line: control characters are shown, a line break is `\n`."""
    shown = text if isinstance(text, str) else str(text)
    shown = escape(shown[:most]).replace("\n", "\\n").replace("\t", "\\t")
    return shown if shown.isascii() else _MARK_FLOOD.sub(r"\1", shown)


def cells(text: str) -> int:
    """Count the cells that a text takes in a terminal."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def first_cells(text: str, width: int) -> str:
    """Return as much of the beginning as fits."""
    if text.isascii():
        return text[:width]
    used = 0
    for at, character in enumerate(text):
        used += _cells(character)
        if used > width:
            return text[:at]
    return text


def width_of(runs: Iterable[Run]) -> int:
    """Count the cells that runs take together."""
    return sum(cells(text) for text, _ in runs)


def duration(ms: float, ink: Ink) -> str:
    """Write a duration in at most seven cells: 120 µs, 3.4 ms, 62 ms, 1.23 s, 2m 03s, 1h 02m, 3d 04h."""
    for limit, unit, form in _DURATIONS:
        if ms < limit:
            return form.format(ms / unit, micro=ink.mark("micro"))
    minutes, seconds = divmod(round(ms / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes}m {seconds:02}s"
    days, hours = divmod(hours, 24)
    return f"{days}d {hours:02}h" if days else f"{hours}h {minutes:02}m"


def clock(moment: float | None) -> str:
    """Write a moment in local time, to the millisecond."""
    try:
        return datetime.fromtimestamp(moment or 0.0).astimezone().isoformat(" ", "milliseconds")[:23] if moment else "?"
    except (OverflowError, OSError, ValueError):
        return "?"


def _painted(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if code and text else text


@lru_cache(maxsize=4096)
def _cells(character: str) -> int:
    if category(character) in {"Mn", "Me", "Cf"} or "\u1160" <= character <= "\u11ff":
        return 0
    return 2 if east_asian_width(character) in {"W", "F"} else 1


def _broken(line: str, width: int) -> Iterator[str]:
    while cells(line) > width:
        head = first_cells(line, width)
        space = head.rfind(" ")
        head = head[:space] if space > width // 2 else head
        yield head.rstrip()
        line = line[max(1, len(head)) :].lstrip()
    yield line


def _width(stream: TextIO) -> int:
    asked = os.environ.get("COLUMNS", "")
    try:
        width = int(asked) if asked.isascii() and asked.isdigit() else os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # no terminal, or no file at all
        width = 0
    return min(max(width, _NARROWEST), _WIDEST) if width else _UNKNOWN_WIDTH


def _shows_unicode(stream: TextIO) -> bool:
    if not (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf"):
        return False
    # Python writes UTF-8 even where LC_ALL asks for plain C; the terminal there may not show it.
    chosen = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_CTYPE", "LANG"))), "UTF-8")
    return chosen.partition("@")[0].lower().replace("-", "").endswith("utf8") or chosen == "UTF-8"
