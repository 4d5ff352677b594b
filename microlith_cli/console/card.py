"""The card: what there is to know at a start, as names and values below each other."""

from collections.abc import Collection, Iterable
from textwrap import wrap
from typing import TextIO

from microlith_cli.console.ink import Ink, cells, one_line
from microlith_cli.console.plain import write

_NARROWEST = 20


def show_card(
    title: str, rows: Iterable[tuple[str, str]], stream: TextIO | None, *, warnings: Collection[str] = ()
) -> None:
    """Show a title, and below it names and values; long values go on in further lines.

    Args:
        title: What it is about.
        rows: Names and values; both may come from data.
        stream: Where to; None: nowhere.
        warnings: The names of rows that somebody should look at.
    """
    if stream is None:
        return
    ink = Ink.of(stream)
    shown = [(one_line(name), one_line(value)) for name, value in rows]
    indent = max((cells(name) for name, _ in shown), default=0) + 4
    write(stream, ink.paint([(one_line(title), "bold")]))
    for name, value in shown:
        style = "warning" if name in warnings else ""
        # A word is never broken: it may be a path that somebody wants to copy.
        room = max(ink.width - indent, _NARROWEST)
        for at, line in enumerate(wrap(value, room, break_long_words=False, break_on_hyphens=False) or [""]):
            label = "" if at else name
            padding = " " * (indent - 2 - cells(label))
            write(stream, ink.paint([("  ", ""), (label, style or "dim"), (padding, ""), (line, style)]))
