"""The tree of one correlation: what was sent, who handled it, how long it took, what failed.

    ► RegisterCommand → auth.register          ✓  120 µs   62 ms ━━━━━━━━━━
    │ 9e3779b1 email=ann@example.org password=***
    └╌◇ UserRegisteredEvent
      ├─ stats.count                           ✓  300 µs  2.1 ms           ━
      └─ mail.welcome                          ✗  2.5 ms  1.2 ms         ──━

A solid arrow is a command; dashed lines lead to what is answered or announced. A handler stands behind
its message, or below it where there are several. On the right: outcome, time in the queue, time at work,
and both on one time line. What repeats is folded; what failed never is.

Follows no recursion, so a deep tree is only a long one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TextIO

from microlith_cli.causation import Handling, Message, Tree
from microlith_cli.console.columns import Columns
from microlith_cli.console.ink import Ink, Run, cells, clock, duration, one_line, width_of
from microlith_cli.console.lines import error_place
from microlith_cli.console.payload import payload_line
from microlith_cli.console.plain import escape, write
from microlith_cli.plurals import plural

MOST_MESSAGES = 400
"""As many messages of one tree are shown, unless more are asked for."""
_MOST_ALIKE = 6
"""Of a longer row of messages of one type, some are folded into a line."""
_SHOWN_ALIKE = 3
_MOST_ERROR_LINES = 6


def show_tree(tree: Tree, stream: TextIO, *, limit: int = MOST_MESSAGES) -> None:
    """Draw one correlation.

    Args:
        tree: What to draw.
        stream: Where to.
        limit: How many messages to show at most.
    """
    ink = Ink.of(stream)
    for row in tree_rows(tree, ink, limit=limit):
        write(stream, ink.paint(row))


def tree_rows(tree: Tree, ink: Ink, *, limit: int = MOST_MESSAGES) -> Iterator[list[Run]]:
    """Draw one correlation as rows of runs."""
    columns = Columns(ink, tree)
    yield _head(tree, ink)
    yield [(" " * columns.left, ""), *columns.caption()]
    drawing = _Drawing(tree, ink, columns, limit)
    for at, top in enumerate(_tops(tree)):
        if at:
            yield []
        yield from drawing.rows(top)
        if drawing.full:
            break
    if drawing.full:
        yield [(f"{ink.mark('more')} {tree.messages:,} messages; `--limit {tree.messages}` shows them all", "dim")]


@dataclass(slots=True)
class _Item:
    """Something that stands on a branch: a message, a handling, messages folded into one line, or a gap.

    Attributes:
        lead: What stands before its first line.
        prefix: What stands before the lines below it.
    """

    what: "Message | Handling | _Fold | _Gap"
    lead: str = ""
    prefix: str = ""
    kind: str = ""


@dataclass(slots=True)
class _Fold:
    """Messages of one type that are not shown one by one."""

    messages: list[Message]


@dataclass(slots=True)
class _Gap:
    """Messages whose common cause is not known."""

    cause: str
    messages: list[Message] = field(default_factory=list)


_What = Message | Handling | _Fold | _Gap


class _Drawing:
    """Draws one tree; remembers how much of it was drawn.

    Attributes:
        full: Whether the limit was met before the end.
    """

    def __init__(self, tree: Tree, ink: Ink, columns: Columns, limit: int) -> None:
        self._ink = ink
        self._columns = columns
        self._left = limit
        self.full = False
        self._telling = _telling(tree)
        self._deepest = max(8, columns.left // 2)

    def rows(self, top: _What) -> Iterator[list[Run]]:
        """Draw something and all below it."""
        stack = [_Item(top)]
        while stack:
            item = stack.pop()
            if isinstance(item.what, Message):
                self.full = self._left == 0
                if self.full:
                    return
                self._left -= 1
            below = self._below(item)
            yield from self._own_rows(item, below=bool(below))
            items = [self._branch(item, what, last=at == len(below) - 1) for at, what in enumerate(below)]
            stack.extend(items[::-1])

    def _below(self, item: _Item) -> Sequence[_What]:
        match item.what:
            case Message(handlings=[handling]) as message if _merged(message):
                return self._folded([*handling.sent, *message.sent])
            case Message() as message:
                return [*message.handlings, *self._folded(message.sent)]
            case Handling() as handling:
                return self._folded(handling.sent)
            case _Gap() as gap:
                return self._folded(gap.messages)
            case _:
                return []

    def _folded(self, messages: list[Message]) -> list[_What]:
        found: list[_What] = []
        for _, group in groupby(messages, key=lambda message: (message.type, message.kind)):
            alike = list(group)
            if len(alike) <= _MOST_ALIKE:
                found += alike
                continue
            kept = [each for at, each in enumerate(alike) if at < _SHOWN_ALIKE or each.id in self._telling]
            rest = [each for at, each in enumerate(alike) if at >= _SHOWN_ALIKE and each.id not in self._telling]
            found += [*kept, _Fold(rest)] if rest else kept
        return found

    def _branch(self, parent: _Item, what: _What, *, last: bool) -> _Item:
        dashed = isinstance(what, Message) and what.kind in {"event", "response"}
        branch = self._ink.mark(("end" if last else "tee") + (" dashed" if dashed else ""))
        prefix = parent.prefix
        if len(prefix) > self._deepest:  # too deep to show from the edge: keep the last steps
            prefix = self._ink.mark("more") + " " + prefix[-(self._deepest // 2) :]
        below = "  " if last else f"{self._ink.mark('bar')} "
        kind = parent.what.kind if isinstance(parent.what, Message) else ""
        return _Item(what, prefix + branch, prefix + below, kind)

    def _own_rows(self, item: _Item, *, below: bool) -> Iterator[list[Run]]:
        match item.what:
            case Message() as message:
                yield from self._message(message, item, below=below)
            case Handling() as handling:
                yield from self._handling(handling, item, below=below)
            case _Fold(messages=messages):
                waiting = sum(message.waiting > 0 for message in messages)
                outcome = f"{waiting:,} not finished yet" if waiting else "all ok"
                told = f"{self._ink.mark('more')} {len(messages):,} more {one_line(messages[0].type)}, {outcome}"
                yield self._row([(item.lead, "dim"), (f" {told}", "dim")])
            case _Gap(cause=cause):
                told = f"message {one_line(cause[-8:])} is not in the trace log" if cause else "cause unknown"
                yield self._row([(f"{self._ink.mark('more')} {told}", "dim")])

    def _message(self, message: Message, item: _Item, *, below: bool) -> Iterator[list[Run]]:
        ink, prefix = self._ink, self._continued(item, below=below)
        name: list[Run] = [
            (item.lead, "dim"),
            (ink.mark(message.kind), message.kind),
            (" ", ""),
            (one_line(message.type) or "?", message.kind or "bold"),
        ]
        handling = message.handlings[0] if _merged(message) else None
        told: list[Run] = (
            [(" ", ""), (ink.mark("to"), "dim"), (f" {one_line(handling.handler)}", "")] if handling else []
        )
        taken = width_of([*name, *told])
        fits = taken <= self._columns.left
        remark = _remark(message)
        if handling is not None and message.kind and taken + cells(remark) > self._columns.left:
            remark = ""  # half of it says nothing
        yield self._row(
            [*name, *(told if fits else []), (remark, "dim")],
            self._columns.of(handling, message.kind) if handling else [],
        )
        if told and not fits:
            yield self._row([(prefix, "dim"), *told[1:]])
        yield from self._payload(message, prefix)
        if handling is not None:
            yield from self._error(handling, prefix)

    def _payload(self, message: Message, prefix: str) -> Iterator[list[Run]]:
        if not message.kind:
            return
        position = f"#{message.position} " if message.position is not None else ""
        identifier = f"{one_line(message.id[-8:])} {position}"
        room = self._ink.width - cells(prefix) - cells(identifier)
        yield self._row([(prefix, "dim"), (identifier, "dim"), (payload_line(message.data, room), "dim")])

    def _handling(self, handling: Handling, item: _Item, *, below: bool) -> Iterator[list[Run]]:
        retried = f"  attempt {handling.attempt}" if handling.attempt > 1 or not handling.last else ""
        name = [(item.lead, "dim"), (f" {one_line(handling.handler)}", ""), (retried, "dim")]
        yield self._row(name, self._columns.of(handling, item.kind))
        yield from self._error(handling, self._continued(item, below=below) + " ")

    def _error(self, handling: Handling, prefix: str) -> Iterator[list[Run]]:
        """Show why a handling failed, and where."""
        if handling.outcome in {"timeout", "cancelled"}:
            yield self._row([(prefix, "dim"), (_WORDS[handling.outcome], "failed")])
        if handling.outcome == "ignored":
            yield self._row([(prefix, "dim"), (one_line(f"ignored: {handling.reason}".removesuffix(": ")), "dim")])
        error = handling.error
        if error is None:
            return
        room = self._ink.width - cells(prefix)
        text = f"{error.get('type') or 'error'}: {error.get('message') or ''}".removesuffix(": ")
        most = _MOST_ERROR_LINES if handling.last else 1
        for line in self._ink.wrap(escape(text[:4096]).replace("\t", "  "), room, most):
            yield self._row([(prefix, "dim"), (line, "failed")])
        if handling.last and (place := error_place(error)):
            source = f"  {one_line(error['source'])}" if error.get("source") else ""
            yield self._row([(prefix, "dim"), (place, "place"), (source, "")])

    def _continued(self, item: _Item, *, below: bool) -> str:
        return item.prefix + (f"{self._ink.mark('bar')} " if below else "  ")

    def _row(self, left: list[Run], right: Sequence[Run] = ()) -> list[Run]:
        if not right:
            return self._ink.fit(left, self._ink.width)
        fitted = self._ink.fit(left, self._columns.left)
        return [*fitted, (" " * (self._columns.left - width_of(fitted)), ""), *right]


_WORDS = {"timeout": "ran out of time", "cancelled": "cancelled"}


def _merged(message: Message) -> bool:
    """Whether a message and its handler stand in one line."""
    return len(message.handlings) == 1 and message.handlings[0].attempt == 1 and message.handlers in {None, 1}


def _remark(message: Message) -> str:
    told = plural(message.projections, "projection") if message.projections else ""
    if not message.kind and message.due:
        told = "cancelled before it was due" if message.cancelled else f"scheduled for {one_line(message.due)[:19]}Z"
    elif not message.kind:
        told = "not in the trace log"
    elif message.step_of or message.unhandled:
        told = "step" if message.step_of else "no handler"
    elif message.waiting:
        told = f"{plural(message.waiting, 'handler')} to come" if message.handlings else "not finished yet"
    return told and f"  {told}"


def _telling(tree: Tree) -> set[str]:
    """The ids of messages that did not go well, or lead to some that did not or are not finished; never folded."""
    above: dict[str, str] = {}
    bad: list[str] = []
    for message in tree.walk():
        above.update((child.id, message.id) for child in message.children())
        if any(handling.outcome != "ok" for handling in message.handlings):
            bad.append(message.id)
        elif (
            message.waiting and message.id in above
        ):  # it may be folded, there can be thousands; what it hangs on may not
            bad.append(above[message.id])
    telling: set[str] = set()
    for identifier in bad:
        at: str | None = identifier
        while at is not None and at not in telling:
            telling.add(at)
            at = above.get(at)
    return telling


def _tops(tree: Tree) -> Iterator[_What]:
    yield from tree.roots
    for cause, orphans in groupby(tree.orphans, key=lambda message: message.cause or ""):
        group = list(orphans)
        if cause or group[0].kind:
            yield _Gap(cause, group)
        else:
            yield from group


def _head(tree: Tree, ink: Ink) -> list[Run]:
    runs: list[Run] = [
        (ink.mark(tree.outcome), "failed bold" if tree.failures else tree.outcome),
        (" ", ""),
        (one_line(tree.correlation_id[-8:]), "bold"),
        (f"  {clock(tree.started)}", "dim"),
        (f"  {plural(tree.messages, 'message')}", ""),
        (f"  {len(tree.failures)} failed" if tree.failures else "", "failed bold"),
        ("  unfinished" if tree.unfinished and not tree.failures else "", "warning"),
        (f"  {plural(len(tree.processes), 'process')}" if len(tree.processes) > 1 else "", ""),
        (f"  {duration(tree.took_ms, ink)}" if tree.took_ms is not None else "", ""),
    ]
    return ink.fit(runs, ink.width)
