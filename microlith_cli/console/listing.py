"""The list of correlations: one line each, with what there is to know before looking closer."""

from collections.abc import Iterable
from time import time
from typing import TextIO

from microlith_cli.causation import Tree
from microlith_cli.console.ink import Ink, Run, duration, first_cells, one_line
from microlith_cli.console.plain import write


def show_correlations(trees: Iterable[Tree], stream: TextIO, *, now: float | None = None) -> int:
    """List correlations, one line each; returns how many there were.

    Args:
        trees: In the order in which they are shown; each is taken when it is its turn.
        stream: Where to.
        now: Seconds since the epoch; None: the present.
    """
    ink = Ink.of(stream)
    count = 0
    for count, tree in enumerate(trees, 1):
        if count == 1:
            write(stream, ink.paint(_list_head()))
        write(stream, ink.paint(_list_row(tree, ink, time() if now is None else now)))
    return count


def _list_head() -> list[Run]:
    return [(f"  {'id':8}  {'when':>7}  {'messages':>8}  {'took':>7}  first message", "dim")]


def _list_row(tree: Tree, ink: Ink, now: float) -> list[Run]:
    first = next(iter(tree.tops), None)
    kind, name = (first.kind, one_line(first.type)) if first else ("", "")
    took = duration(tree.took_ms, ink) if tree.took_ms is not None else ""
    runs: list[Run] = [
        (ink.mark(tree.outcome), "failed bold" if tree.failures else tree.outcome),
        (f" {first_cells(one_line(tree.correlation_id[-8:]), 8):8}", "bold"),
        (f"  {ago(tree.started, now):>7}  {tree.messages:>8,}  {took:>7}  ", ""),
        (ink.mark(kind), kind),
        (f" {name}", kind or "bold"),
    ]
    if tree.failures:
        error = tree.failures[0].error or {}
        runs.append((f"  {one_line(tree.failures[0].handler)}", "failed"))
        runs.append((f" {one_line(error.get('type') or tree.failures[0].outcome)}", "failed"))
    elif tree.outcome != "ok":
        runs.append((f"  {tree.outcome}", "warning"))
    return ink.fit(runs, ink.width)


def ahead(moment: float, now: float) -> str:
    """Say how far ahead a moment is, in one unit; "now" for one that has come. Both in seconds since the epoch."""
    seconds = int(moment - now)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        if seconds >= size:
            return f"in {seconds // size}{unit}"
    return "now"


def ago(moment: float | None, now: float) -> str:
    """Say how long ago a moment was, in one unit. Both in seconds since the epoch."""
    if moment is None:
        return "?"
    seconds = max(0, int(now - moment))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit} ago"
    return f"{seconds}s ago"
