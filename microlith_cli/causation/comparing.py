"""Two trees side by side: what is missing, new, slower, or changed in outcome or payload.

Messages are paired by meaning: of one type, caused in the same place by the same handler, the first
with the first. Ids and times differ between any two runs; they count as the same where they play the same part.

Draws nothing. Nothing is followed by calling itself.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from microlith_cli.causation import Handling, Message, Tree, moment

What = Literal["missing", "new", "changed", "same"]

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SLOWER_TIMES = 2.0
_SLOWER_MS = 5.0
"""A handling is slower when it took so many times as long, and so many milliseconds more."""
_MOST_FIELDS = 100
ABSENT = "(absent)"
"""Stands for a field that one side does not have."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs between two messages.

    Attributes:
        what: "field", "outcome", "handler", or "slower".
        name: The path of the field, or the handler.
        before: On the first side.
        after: On the second side.
    """

    what: Literal["field", "outcome", "handler", "slower"]
    name: str
    before: Any
    after: Any


@dataclass(slots=True)
class Pair:
    """A message of the first tree and its twin of the second; one of them may not be there.

    Attributes:
        depth: How many messages lie above it.
        path: The types from the first message down to this one.
        changes: What differs.
        below: Of a message that has no twin: how many it caused, directly or not.
    """

    before: Message | None
    after: Message | None
    depth: int
    path: tuple[str, ...]
    changes: list[Change] = field(default_factory=list)
    below: int = 0

    @property
    def what(self) -> What:
        """What became of the message. A slower one is the same."""
        if self.after is None:
            return "missing"
        if self.before is None:
            return "new"
        return "changed" if any(change.what != "slower" for change in self.changes) else "same"

    @property
    def message(self) -> Message:
        """The message on the side where there is one; of a pair, the second."""
        found = self.after or self.before
        if found is None:
            raise ValueError("a pair of nothing")
        return found

    def as_dict(self) -> dict[str, Any]:
        """Show what differs, ready for JSON."""
        sides = (("before", self.before), ("after", self.after))
        ids = {side: None if found is None else found.id for side, found in sides}
        told = {"difference": self.what, "message": self.message.type, "path": list(self.path), "ids": ids}
        return {**told, "below": self.below} if self.below else {**told, "changes": [asdict(c) for c in self.changes]}

    @property
    def telling(self) -> bool:
        """Whether there is anything to tell of it."""
        return self.what != "same" or bool(self.changes)


def compare(before: Tree, after: Tree) -> list[Pair]:
    """Pair the messages of two trees, in the order of the second tree; what is missing stands where it stood."""
    ids = _Ids()
    pairs: list[Pair] = []
    above: tuple[str, ...] = ()
    rest = [(one, other, 0, above) for one, other in _paired(_tops(before), _tops(after))][::-1]
    while rest:
        one, other, depth, above = rest.pop()
        message = other or one
        if message is None:
            continue
        path = (*above[-8:], message.type)
        pair = Pair(one, other, depth, path)
        pairs.append(pair)
        if one is None or other is None:
            pair.below = sum(1 for _ in _descendants(message))
            continue
        ids.note(one.id, other.id)
        pair.changes = [*_changed_handlings(one, other), *_changed_fields(one.data, other.data, ids)]
        children = list(_paired(_children(one), _children(other)))
        rest += [(left, right, depth + 1, path) for left, right in children[::-1]]
    return pairs


Place = tuple[str, Message]
"""A message with the handler that sent it; empty where that is not known."""


class _Ids:
    """Ids of the first side with those that play their part on the second."""

    def __init__(self) -> None:
        self._after: dict[str, str] = {}
        self._before: dict[str, str] = {}

    def note(self, before: str, after: str) -> bool:
        """Pair two ids; tell whether neither is paired otherwise."""
        return self._after.setdefault(before, after) == after and self._before.setdefault(after, before) == before


def _tops(tree: Tree) -> list[Place]:
    return [("", message) for message in tree.tops]


def _children(message: Message) -> list[Place]:
    placed = [(handling.handler, child) for handling in message.handlings if handling.last for child in handling.sent]
    return placed + [("", child) for child in message.sent]


def _paired(before: Sequence[Place], after: Sequence[Place]) -> Iterator[tuple[Message | None, Message | None]]:
    """Pair messages of one handler and type, the first with the first; handlers may run in any order."""
    waiting: dict[tuple[str, str], list[int]] = {}
    for at, (handler, message) in enumerate(after):
        waiting.setdefault((handler, message.type), []).append(at)
    twins: dict[int, Message] = {}
    missing: dict[int, list[Message]] = {}
    follows = 0
    for handler, message in before:
        places = waiting.get((handler, message.type))
        if places:
            at = places.pop(0)
            twins[at] = message
            follows = at + 1
        else:
            missing.setdefault(follows, []).append(message)
    for at, (_, message) in enumerate(after):
        yield from ((gone, None) for gone in missing.get(at, ()))
        yield twins.get(at), message
    yield from ((gone, None) for gone in missing.get(len(after), ()))


def _descendants(message: Message) -> Iterator[Message]:
    rest = list(message.children())
    while rest:
        child = rest.pop()
        yield child
        rest.extend(child.children())


def _changed_handlings(before: Message, after: Message) -> Iterator[Change]:
    ours, theirs = _last_handlings(before), _last_handlings(after)
    for name in {**ours, **theirs}:
        one, other = ours.get(name), theirs.get(name)
        if one is None or other is None:
            yield Change(
                "handler", name, ABSENT if one is None else one.outcome, ABSENT if other is None else other.outcome
            )
            continue
        outcomes = _outcome(one), _outcome(other)
        if outcomes[0] != outcomes[1]:
            yield Change("outcome", name, *outcomes)
        if _slower(one.took_ms, other.took_ms):
            yield Change("slower", name, one.took_ms, other.took_ms)


def _last_handlings(message: Message) -> dict[str, Handling]:
    return {handling.handler: handling for handling in message.handlings if handling.last}


def _outcome(handling: Handling) -> str:
    error = handling.error or {}
    told = (
        f"{handling.outcome} ({error['type']}: {error.get('message', '')})" if error.get("type") else handling.outcome
    )
    return f"{told}, attempt {handling.attempt}" if handling.attempt > 1 else told


def _slower(before: float | None, after: float | None) -> bool:
    if before is None or after is None:
        return False
    return after > before * _SLOWER_TIMES and after - before > _SLOWER_MS


def _changed_fields(before: Any, after: Any, ids: _Ids) -> list[Change]:
    """List the fields that differ, by their path; the first hundred."""
    changes: list[Change] = []
    rest: list[tuple[str, Any, Any]] = [("", before, after)]
    while rest and len(changes) < _MOST_FIELDS:
        path, one, other = rest.pop()
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            rest += [
                (f"{path}.{key}" if path else str(key), one.get(key, ABSENT), other.get(key, ABSENT))
                for key in reversed({**one, **other})
            ]
        elif isinstance(one, list) and isinstance(other, list):
            longer = max(len(one), len(other))
            rest += [(f"{path}[{at}]", _at(one, at), _at(other, at)) for at in reversed(range(longer))]
        elif not _plays_the_same_part(one, other, ids):
            changes.append(Change("field", path, one, other))
    return changes


def _at(values: Sequence[Any], at: int) -> Any:
    return values[at] if at < len(values) else ABSENT


def _plays_the_same_part(before: Any, after: Any, ids: _Ids) -> bool:
    if type(before) is type(after) and before == after:
        return True
    if not isinstance(before, str) or not isinstance(after, str):
        return False
    if _UUID.fullmatch(before) and _UUID.fullmatch(after):
        return ids.note(before, after)
    return "T" in before and "T" in after and moment(before) is not None and moment(after) is not None
