"""The state of a stream, folded with today's code: of an aggregate from all its events, of a process from its newest step.

Calls what evolves, never what decides: nothing is sent, and nothing is written.
"""

import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from microlith import Microlith
from microlith.aggregates import Decider
from microlith.errors import MicrolithError
from microlith.event_store.event_copy import EventCopy
from microlith.messages import Message
from microlith.payloads import MASK, redact, scrub
from microlith.privacy.marking import personal_fields
from microlith.processes import ProcessType
from microlith.secrecy import hidden_values, in_clear
from microlith.serialization import MessageTypes
from microlith_cli.causation.comparing import ABSENT
from microlith_cli.errors import ToolError, UsageError, nearest
from microlith_cli.project import describe_failure


class NotFoldedError(ToolError):
    """A stream has no state: no aggregate and no process of this application folds it."""


class FoldFailedError(ToolError):
    """An event cannot be folded by today's code."""

    def __init__(self, name: str, copy: EventCopy, problem: str, hint: str) -> None:
        earlier = copy.stream_position - 1
        super().__init__(
            f"{name} cannot take {copy.type} at stream position {copy.stream_position} of {copy.stream!r}: {problem}.",
            hint=f"`microlith replay state '{copy.stream}' --at {earlier}` shows the state before it."
            if earlier >= 0
            else hint,
        )


class Folding(Protocol):
    """How a kind of stream is folded.

    Attributes:
        kind: "aggregate" or "process".
        name: Its full name, such as "bank.Account".
    """

    kind: str
    name: str

    def initial(self) -> Any:
        """Make the state of a new stream."""
        ...

    def take(self, state: Any, message: Message) -> Any:
        """Return the state after an event."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One event and what it did to the state.

    Attributes:
        position: Its global position.
        copy: The event.
        state: The state afterwards, as JSON.
        changes: Fields that it changed, by their path, before and after.
    """

    position: int
    copy: EventCopy
    state: Any
    changes: Mapping[str, tuple[Any, Any]]


def folding_of(app: Microlith, stream: str, wanted: str = "") -> Folding:
    """Find what folds a stream, by its name.

    Raises:
        NotFoldedError: Nothing does.
        UsageError: Several aggregates may, or none of the wanted name.
    """
    found = [one for one in _foldings(app) if one.fits(stream)]
    if wanted:
        named = [one for one in found if wanted in (one.name, one.name.rpartition(".")[2])]
        if not named:
            raise UsageError(
                f"{wanted!r} does not fold {stream!r}.",
                hint=f"{' and '.join(one.name for one in found)} may." if found else "",
            )
        found = named
    if not found:
        forms = [one.form for one in _foldings(app)]
        raise NotFoldedError(
            f"The stream {stream!r} has no state: no aggregate and no process has streams of such a name.",
            hint=f"Theirs are named {', '.join(forms)}." if forms else "This application has none of either.",
        )
    best = max(one.weight for one in found)
    found = [one for one in found if one.weight == best]
    if len(found) > 1:
        raise UsageError(
            f"{stream!r} may be of {' or '.join(one.name for one in found)}.", hint=f"Add --as {found[0].name}."
        )
    return found[0]


def steps(
    folding: Folding, copies: Iterable[tuple[int, EventCopy]], types: MessageTypes, root: Path, *, reveal: bool
) -> Iterator[Step]:
    """Fold event after event.

    Raises:
        FoldFailedError: One cannot be read, or what folds it raised.
    """
    showing = _Showing(reveal=reveal)
    state = folding.initial()
    before = _flat(showing.shown(state))
    for position, copy in copies:
        try:
            message = types.decode(copy.component, copy.type, copy.version, copy.data, message_id=copy.message_id)
            showing.note(message)
            state = folding.take(state, message)
        except Exception as error:
            problem = str(error if isinstance(error, MicrolithError) else describe_failure(error, root)).rstrip(".")
            raise FoldFailedError(folding.name, copy, showing.safe(problem), getattr(error, "hint", "")) from error
        shown = showing.shown(state)
        after = _flat(shown)
        changed = {
            path: (before.get(path, ABSENT), after.get(path, ABSENT))
            for path in {**before, **after}
            if _differ(before.get(path, ABSENT), after.get(path, ABSENT))
        }
        before = after
        yield Step(position, copy, shown, changed)


class _OfAggregate:
    """Folds the streams of one aggregate."""

    kind = "aggregate"

    def __init__(self, component: str, decider: Decider[Any]) -> None:
        self.name = f"{component}.{decider.name}"
        self.form = decider.stream
        self._decider = decider
        parts = list(string.Formatter().parse(decider.stream))
        self.weight = sum(len(text) for text, *_ in parts)
        self._pattern = "".join(re.escape(text) + ("" if name is None else "(?s:.+)") for text, name, *_ in parts)

    def fits(self, stream: str) -> bool:
        """Tell whether a stream may be one of these, by its name."""
        return re.fullmatch(self._pattern, stream) is not None

    def initial(self) -> Any:
        """Make the state of a new stream."""
        return self._decider.initial()

    def take(self, state: Any, message: Message) -> Any:
        """Let the aggregate evolve by an event."""
        return self._decider.fold(state, [message])


class _OfProcess:
    """Folds the streams of one kind of process: each step holds the state after it."""

    kind = "process"
    weight = 1 << 30  # its streams are named by the runtime

    def __init__(self, component: str, process: ProcessType) -> None:
        self.name = f"{component}.{process.name}"
        self.form = process.streams_of("KEY")[0]
        self._process = process

    def fits(self, stream: str) -> bool:
        """Tell whether a stream is one of these, by its name."""
        return any(stream.startswith(begin) and stream != begin for begin in self._process.streams_of(""))

    def initial(self) -> Any:
        """Make the state of a process that starts."""
        return self._process.cls()

    def take(self, state: Any, message: Message) -> Any:
        """Return the state that a step holds."""
        return getattr(message, "state", state)


def _foldings(app: Microlith) -> Sequence[_OfAggregate | _OfProcess]:
    components = app.wire().components
    found: list[_OfAggregate | _OfProcess] = [
        _OfAggregate(one.name, each) for one in components for each in one.deciders
    ]
    return found + [_OfProcess(one.name, each) for one in components for each in one.processes]


class _Showing:
    """Shows a state as JSON. What the events have as secret or personal is masked wherever it stands in the state."""

    def __init__(self, *, reveal: bool) -> None:
        self._reveal = reveal
        self._values: set[str] = set()
        self._names: dict[str, Any] = {}

    def note(self, message: Message) -> None:
        """Learn from an event what must not be shown."""
        if not self._reveal:
            self._values.update(value for value in hidden_values(message) if value)
            self._names |= {name: field.erased for name, field in personal_fields(type(message)).items()}

    def shown(self, state: Any) -> Any:
        """Show a state."""
        dumped = (
            state.model_dump(mode="json", warnings=False)
            if isinstance(state, BaseModel)
            else to_jsonable_python(state, serialize_unknown=True)
        )
        if self._reveal:
            return in_clear(state, dumped)
        return self._masked(redact(dumped), "")

    def safe(self, text: str) -> str:
        """Mask in a text what must not be shown."""
        return scrub(text, self._values)

    def _masked(self, value: Any, name: str) -> Any:
        if name in self._names and value not in (None, self._names[name]):
            return MASK
        if isinstance(value, dict):
            return {self._hidden(str(key)): self._masked(item, str(key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._masked(item, "") for item in value]
        return self._hidden(value) if isinstance(value, str) else value

    def _hidden(self, text: str) -> str:
        return MASK if text in self._values else self.safe(text)


def _differ(before: Any, after: Any) -> bool:
    """Tell whether a value changed; that a list or object is no longer empty is told by what is in it."""
    return bool(before != after) and not (
        ABSENT in (before, after) and ([] in (before, after) or {} in (before, after))
    )


def _flat(value: Any) -> dict[str, Any]:
    """Lay a state out flat: the path of each value that holds no others."""
    found: dict[str, Any] = {}
    rest: list[tuple[str, Any]] = [("", value)]
    while rest:
        path, one = rest.pop()
        if isinstance(one, dict) and one:
            rest += [(f"{path}.{key}" if path else str(key), item) for key, item in reversed(one.items())]
        elif isinstance(one, list) and one:
            rest += [(f"{path}[{at}]", item) for at, item in reversed(list(enumerate(one)))]
        else:
            found[path] = one
    return found


def unknown_stream(stream: str, names: Sequence[str]) -> ToolError:
    """Build the error for a stream without events."""
    close = nearest(stream, names)
    shown = ", ".join(names[:5])
    hint = f"Did you mean {close!r}?" if close else f"There are {shown}{' and more' if len(names) > 5 else ''}."
    return NotFoldedError(f"There are no events in the stream {stream!r}.", hint=hint if names else "")
