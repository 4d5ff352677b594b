"""Causation: the facts of one correlation as a tree of messages and what was done with them.

Facts may come in any order, twice, or not at all: what is missing leaves a gap that shows, never an
error. Nothing is followed by calling itself, so a chain of a hundred thousand messages is a tree like any other.

Draws nothing and reads no files.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf

from microlith_cli.causation.nodes import (
    CANCELLED,
    HANDLED,
    SCHEDULED,
    STARTED,
    Fact,
    Handling,
    Message,
    cause_of,
    id_of,
    kind_of,
    moment,
    read_handling,
    read_message,
    read_schedule,
    scheduled_id,
    scheduled_name,
    takers,
)

__all__ = [
    "HANDLED",
    "STARTED",
    "Fact",
    "Handling",
    "Message",
    "Tree",
    "build_tree",
    "build_trees",
    "cause_of",
    "id_of",
    "kind_of",
    "moment",
    "read_handling",
    "takers",
]


@dataclass(slots=True, eq=False)
class Tree:
    """Everything that is known of one correlation.

    Attributes:
        roots: Its first messages; mostly one.
        orphans: Messages whose cause is not among the facts.
        failures: Handlings that failed and were not tried again, in order.
        processes: The processes that have told of it.
        started: When its first message was made, seconds since the epoch; None when unknown.
        ended: The last moment known, likewise.
    """

    correlation_id: str
    roots: list[Message] = field(default_factory=list)
    orphans: list[Message] = field(default_factory=list)
    failures: list[Handling] = field(default_factory=list)
    processes: set[str] = field(default_factory=set)
    messages: int = 0
    handlings: int = 0
    unhandled: int = 0
    unfinished: int = 0
    cancelled: int = 0
    started: float | None = None
    ended: float | None = None

    @property
    def tops(self) -> list[Message]:
        """The messages to begin with: roots, then orphans."""
        return [*self.roots, *self.orphans]

    @property
    def took_ms(self) -> float | None:
        """From the first message to the last moment known; None while a first handler is still waited for."""
        if self.started is None or self.ended is None or (self.unfinished and not self.handlings):
            return None
        return max(0.0, (self.ended - self.started) * 1000)

    @property
    def outcome(self) -> str:
        """How it ended: "failed", "unfinished", "cancelled" or "ok"."""
        if self.failures:
            return "failed"
        if self.unfinished:
            return "unfinished"
        return "cancelled" if self.cancelled else "ok"

    def walk(self) -> Iterator[Message]:
        """Yield every message, parents before children."""
        rest = self.tops[::-1]
        while rest:
            message = rest.pop()
            yield message
            rest.extend(list(message.children())[::-1])


def build_trees(facts: Iterable[Fact]) -> list[Tree]:
    """Build one tree per correlation, in the order in which they are first heard of."""
    groups: dict[str, list[Fact]] = {}
    for fact in facts:
        correlation = fact.get("correlationid")
        if isinstance(correlation, str):
            groups.setdefault(correlation, []).append(fact)
    return [build_tree(correlation, group) for correlation, group in groups.items()]


def build_tree(correlation_id: str, facts: Iterable[Fact]) -> Tree:
    """Build the tree of one correlation; facts of others are not looked for."""
    messages: dict[str, Message] = {}
    handlings: dict[tuple[str, str, int], Handling] = {}
    named: dict[str, Message] = {}
    for fact in facts:
        if fact.get("type") in (HANDLED, STARTED):
            _take_handling(fact, messages, handlings)
        elif "bus" in fact:
            _take_message(fact, messages)
        elif fact.get("type") in (SCHEDULED, CANCELLED):
            _take_schedule(fact, messages, named)
    for message in messages.values():
        _order(message)
    tree = Tree(correlation_id)
    _link(messages, tree)
    _sum_up(tree)
    return tree


def _take_message(fact: Fact, messages: dict[str, Message]) -> None:
    if identifier := id_of(fact):
        read_message(fact, messages.setdefault(identifier, Message(identifier)))


def _take_schedule(fact: Fact, messages: dict[str, Message], named: dict[str, Message]) -> None:
    """Note a message that is to be sent later; it stands in the tree until it was sent, and for ever when cancelled.

    `named` holds the newest schedule of each name: a later one of that name takes its place.
    """
    identifier, name = scheduled_id(fact), scheduled_name(fact)
    if fact.get("type") == CANCELLED:
        cancelled = messages.get(identifier) or named.pop(name, None)
        if cancelled is not None:
            cancelled.cancelled = True
    elif identifier and identifier not in messages:
        read_schedule(fact, messages.setdefault(identifier, Message(identifier)))
        if name in named:
            named[name].cancelled = True
        if name:
            named[name] = messages[identifier]


def _take_handling(fact: Fact, messages: dict[str, Message], handlings: dict[tuple[str, str, int], Handling]) -> None:
    identifier = cause_of(fact)
    if not identifier:
        return
    message = messages.setdefault(identifier, Message(identifier))
    handling = read_handling(fact)
    message.type = message.type or handling.message
    key = (identifier, handling.handler, handling.attempt)
    known = handlings.get(key)
    if known is None:
        handlings[key] = handling
        message.handlings.append(handling)
    elif known.outcome == "running":
        handlings[key] = handling
        message.handlings[message.handlings.index(known)] = handling


def _order(message: Message) -> None:
    """Put handlings into the order of their beginning, and find the last attempts."""
    message.handlings.sort(key=lambda handling: (handling.started or 0.0, handling.attempt))
    attempts: dict[str, int] = {}
    for handling in message.handlings:
        attempts[handling.handler] = max(handling.attempt, attempts.get(handling.handler, 0))
    for handling in message.handlings:
        handling.last = handling.attempt == attempts[handling.handler]


def _link(messages: dict[str, Message], tree: Tree) -> None:
    """Hang every message below its cause, or at the top where there is none."""
    senders: dict[tuple[str, str], Handling] = {}
    for message in messages.values():
        for handling in message.handlings:
            senders.update(((message.id, sent), handling) for sent in handling.sent_ids)
    below: dict[str, list[Message]] = {}
    for message in messages.values():
        if message.cause is not None and message.cause in messages and message.cause != message.id:
            below.setdefault(message.cause, []).append(message)
        else:
            (tree.roots if (message.kind or message.due) and message.cause is None else tree.orphans).append(message)
    for siblings in (tree.roots, tree.orphans, *below.values()):
        siblings.sort(key=lambda message: inf if message.time is None else message.time)
    seen: set[str] = set()
    _hang(tree.tops, below, senders, seen)
    for message in messages.values():
        if message.id not in seen:  # of a circle, the first one stands at the top
            tree.orphans.append(message)
            _hang([message], below, senders, seen)


def _hang(
    tops: list[Message], below: dict[str, list[Message]], senders: dict[tuple[str, str], Handling], seen: set[str]
) -> None:
    rest = list(tops)
    seen.update(message.id for message in tops)
    while rest:
        parent = rest.pop()
        for child in below.get(parent.id, ()):
            if child.id in seen:
                continue
            seen.add(child.id)
            rest.append(child)
            handling = senders.get((parent.id, child.id))
            if handling is None and len(parent.handlings) == 1:
                handling = parent.handlings[0]
            (parent if handling is None else handling).sent.append(child)


def _sum_up(tree: Tree) -> None:
    for message in tree.walk():
        tree.messages += bool(message.kind)
        tree.handlings += len(message.handlings)
        tree.unhandled += message.unhandled
        tree.unfinished += message.waiting
        tree.processes.update(message.processes)
        _extend(tree, message.time, message.time)
        for handling in message.handlings:
            if handling.started is not None:
                _extend(tree, handling.started, handling.started + (handling.took_ms or 0.0) / 1000)
            if handling.last:
                tree.unfinished += handling.outcome == "running"
                tree.cancelled += handling.outcome == "cancelled"
                if handling.failed:
                    tree.failures.append(handling)


def _extend(tree: Tree, begin: float | None, end: float | None) -> None:
    if begin is not None and (tree.started is None or begin < tree.started):
        tree.started = begin
    if end is not None and (tree.ended is None or end > tree.ended):
        tree.ended = end
