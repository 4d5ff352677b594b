"""The difference of two traces: the messages that differ, each below those that lead to it.

~ ► OrderCommand → shop.order
~   ◇ OrderedEvent
total  17 → 18
-   ◇ MailSentEvent  missing
+   ◇ AuditedEvent  new
"""

from collections.abc import Sequence
from typing import Any, TextIO

from microlith_cli.causation import Tree
from microlith_cli.causation.comparing import ABSENT, Change, Pair
from microlith_cli.console.ink import Ink, Run, clock, duration, one_line
from microlith_cli.console.payload import payload_line
from microlith_cli.console.plain import write
from microlith_cli.plurals import plural

_MARKS = {"missing": ("-", "failed"), "new": ("+", "ok"), "changed": ("~", "warning"), "same": (" ", "dim")}
_DEEPEST = 20
_LONGEST = 60


def show_difference(before: Tree, after: Tree, pairs: Sequence[Pair], stream: TextIO) -> None:
    """Draw what differs, with what leads to it."""
    ink = Ink.of(stream)
    for runs in (_head("before", before, ink), _head("after", after, ink)):
        write(stream, ink.paint(ink.fit(runs, ink.width)))
    shown = _shown(pairs)
    for pair, is_shown in zip(pairs, shown, strict=True):
        if is_shown:
            for row in _rows(pair, ink):
                write(stream, ink.paint(ink.fit(row, ink.width)))
    write(stream, summary(pairs))


def summary(pairs: Sequence[Pair]) -> str:
    """Say in a line what differs."""
    counts = {word: sum(pair.what == word for pair in pairs) for word in ("missing", "new", "changed")}
    slower = sum(change.what == "slower" for pair in pairs for change in pair.changes)
    told = [f"{count} {word}" for word, count in [*counts.items(), ("slower", slower)] if count]
    return ", ".join(told) if told else f"no difference in {plural(len(pairs), 'message')}"


def _shown(pairs: Sequence[Pair]) -> list[bool]:
    """Tell which pairs are shown: those with something to tell, and all above them."""
    shown = [False] * len(pairs)
    needed = -1
    for at in range(len(pairs) - 1, -1, -1):
        pair = pairs[at]
        if pair.telling or pair.depth < needed:
            shown[at] = True
            needed = pair.depth or -1
        elif not pair.depth:
            needed = -1
    return shown


def _head(word: str, tree: Tree, ink: Ink) -> list[Run]:
    took = f"  {duration(tree.took_ms, ink)}" if tree.took_ms is not None else ""
    return [
        (f"{word:<6} ", "dim"),
        (one_line(tree.correlation_id[-8:]), "bold"),
        (f"  {clock(tree.started)}  {plural(tree.messages, 'message')}{took}", ""),
        (f"  {tree.outcome}", "failed" if tree.failures else "dim"),
    ]


def _rows(pair: Pair, ink: Ink) -> list[list[Run]]:
    message = pair.message
    mark, style = _MARKS[pair.what]
    indent = "  " * min(pair.depth, _DEEPEST)
    told = pair.what if pair.what in {"missing", "new"} else ""
    more = f", and {pair.below:,} below it" if pair.below else ""
    name: list[Run] = [
        (f"{mark} ", style),
        (indent, ""),
        (ink.mark(message.kind), message.kind),
        (f" {one_line(message.type) or '?'}", message.kind or "bold"),
        (f"  {told}{more}" if told else "", style),
    ]
    rows = [name]
    if told:
        rows.append([(f"  {indent}  ", ""), (payload_line(message.data, ink.width), "dim")])
    return rows + [[(f"  {indent}    ", ""), *_change(change, ink)] for change in pair.changes]


def _change(change: Change, ink: Ink) -> list[Run]:
    to = ink.mark("to")
    name = one_line(change.name)
    if change.what == "slower":
        times = change.after / change.before if change.before else float("inf")
        took = f"{duration(change.before, ink)} {to} {duration(change.after, ink)}"
        return [(f"{name}  {took}  {times:.1f} times as long", "dim")]
    before, after = (_value(value) for value in (change.before, change.after))
    return [(f"{name}  ", "bold"), (before, "failed"), (f" {to} ", "dim"), (after, "ok")]


def _value(value: Any) -> str:
    if value == ABSENT:
        return ABSENT
    if isinstance(value, str):
        return one_line(value, _LONGEST)
    return one_line(payload_line({"": value}, _LONGEST).removeprefix("="), _LONGEST)
