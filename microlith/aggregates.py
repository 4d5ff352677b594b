"""Aggregates: state that is folded from one stream, and decisions that add events to it.

Two forms of one thing. An `Aggregate` is a class whose methods decide and evolve; a `Decider` is
two functions. Either way a command is decided on the newest state of its stream, one command of a
stream at a time, and its events are appended only if nobody came first.

Reads and writes nothing itself: loading is the streams', committing the delivery's.
"""

import inspect
import string
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Generic, TypeVar, Unpack

from pydantic import BaseModel, ConfigDict

from microlith.context import Folding
from microlith.errors import WiringError
from microlith.event_store.protocol import EventStore
from microlith.handlers.decisions import Decision, KeyedLocks
from microlith.handlers.declared import HandlerSpec, messages_in
from microlith.handlers.retries import Retry
from microlith.messages import Command, Event, Message

S = TypeVar("S")
F = TypeVar("F", bound=Callable[..., Any])

_DECIDES = "__microlith_decides__"
_EVOLVES = "__microlith_evolves__"


class AggregateError(WiringError):
    """An aggregate or decider that is declared in a way that cannot work."""


def decides(method: F) -> F:
    """Mark a method of an aggregate that takes a command and returns the events it leads to (one, several or None)."""
    setattr(method, _DECIDES, True)
    return method


def evolves(method: F) -> F:
    """Mark a method of an aggregate that takes an event and changes the state. It must not fail, and decides nothing."""
    setattr(method, _EVOLVES, True)
    return method


class Decider(Generic[S]):
    """How the commands of one kind of stream are decided, and how its events make its state.

    Attributes:
        name: Such as "Account"; its handlers are named after it.
        stream: Template of the stream's name over fields of the command, such as "account-{account_id}".
        initial: Makes the state of a new stream.
        decide: Takes a state and a command; returns an event, several, or None.
        evolve: Takes a state and an event; returns the new state (which may be the same object).
        commands: What it decides, with the events each may lead to.
        events: What it evolves by.
        locks: Lets one command of a stream in at a time.
    """

    def __init__(
        self,
        name: str,
        stream: str,
        *,
        initial: Callable[[], S],
        decide: Callable[[S, Any], Any],
        evolve: Callable[[S, Any], S],
        commands: dict[type[Command], Sequence[type[Message]]],
        events: Sequence[type[Event]],
    ) -> None:
        self.name = name
        self.stream = stream
        self.initial = initial
        self.decide = decide
        self.evolve = evolve
        self.commands = commands
        self.events = tuple(events)
        self.locks = KeyedLocks()
        self._check()

    def stream_of(self, command: Command) -> str:
        """Name the stream that a command concerns."""
        fields = {name: getattr(command, name) for name in self.stream_fields}
        return self.stream.format(**fields)

    @property
    def stream_fields(self) -> list[str]:
        """The command's fields that make the name of its stream."""
        return [name for _, name, _, _ in string.Formatter().parse(self.stream) if name]

    def fold(self, state: S, events: Iterable[Any]) -> S:
        """Apply events in order."""
        with Folding(self.name):
            for event in events:
                state = self.evolve(state, event)
        return state

    def decided(self, state: S, command: Command) -> list[Any]:
        """Decide a command and list the events, in order."""
        result = self.decide(state, command)
        if result is None:
            return []
        return [result] if isinstance(result, Message) else list(result)

    def _check(self) -> None:
        if not self.stream_fields:
            raise AggregateError(
                f"The stream of {self.name}, {self.stream!r}, names no field of its commands.",
                hint='Write a template such as "account-{account_id}".',
            )
        for command in self.commands:
            missing = [name for name in self.stream_fields if name not in command.model_fields]
            if missing:
                raise AggregateError(
                    f"{command.__name__} has no field {missing[0]!r}, which names the stream of {self.name}.",
                    hint=f"Add the field, or change the template {self.stream!r}.",
                )


class Aggregate(BaseModel):
    """State that is folded from one stream, with the methods that decide its commands.

    Fields hold the state and need defaults; `@decides` methods take a command and return events,
    `@evolves` methods take an event and change the fields.

    `class Account(Aggregate, stream="account-{account_id}"): ...`
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=False)

    __stream__: ClassVar[str] = ""

    def __init_subclass__(cls, *, stream: str = "", **options: Unpack[ConfigDict]) -> None:
        """Take the class keyword `stream`: the template of the stream's name over the commands' fields."""
        super().__init_subclass__(**options)

    @classmethod
    def __pydantic_init_subclass__(cls, *, stream: str = "", **_: Any) -> None:
        cls.__stream__ = stream or cls.__stream__


def decider_of(aggregate: type[Aggregate]) -> Decider[Any]:
    """Read an aggregate class into a decider.

    Raises:
        AggregateError: A method takes no message, a field has no default, or two methods take the same message.
    """
    required = [name for name, field in aggregate.model_fields.items() if field.is_required()]
    if required:
        raise AggregateError(
            f"{aggregate.__name__}.{required[0]} has no default: a new stream has a state too.",
            hint="Give every field of an aggregate a default.",
        )
    deciding: dict[type[Any], tuple[str, Sequence[type[Message]]]] = {}
    evolving: dict[type[Any], str] = {}
    for name, method in inspect.getmembers(aggregate, inspect.isfunction):
        if hasattr(method, _DECIDES):
            taken, returned = _signature(aggregate, method, Command)
            _once(aggregate, deciding, taken, name)
            deciding[taken] = (name, returned)
        elif hasattr(method, _EVOLVES):
            for taken in _taken(aggregate, method, Event):
                _once(aggregate, evolving, taken, name)
                evolving[taken] = name
    if not deciding:
        raise AggregateError(
            f"{aggregate.__name__} decides nothing.", hint="Mark a method that takes a command with @decides."
        )

    def decide(state: Any, command: Any) -> Any:
        return getattr(state, deciding[type(command)][0])(command)

    def evolve(state: Any, event: Any) -> Any:
        name = evolving.get(type(event))
        if name is not None:
            getattr(state, name)(event)
        return state

    return Decider(
        aggregate.__name__,
        aggregate.__stream__,
        initial=aggregate,
        decide=decide,
        evolve=evolve,
        commands={command: returned for command, (_, returned) in deciding.items()},
        events=list(evolving),
    )


def _once(aggregate: type[Aggregate], seen: dict[type[Any], Any], taken: type[Any], name: str) -> None:
    if taken in seen:
        raise AggregateError(
            f"{aggregate.__name__} takes {taken.__name__} in two methods, one of them {name}.", hint="Keep one of them."
        )


def _signature(aggregate: type[Aggregate], method: Any, kind: type[Message]) -> tuple[type[Any], list[type[Message]]]:
    (taken,) = _taken(aggregate, method, kind)
    return taken, list(messages_in(typing.get_type_hints(method).get("return")))


def _taken(aggregate: type[Aggregate], method: Any, kind: type[Message]) -> list[type[Any]]:
    hints = typing.get_type_hints(method)
    parameters = [name for name in inspect.signature(method).parameters if name != "self"]
    found = [cls for cls in messages_in(hints.get(parameters[0])) if issubclass(cls, kind)] if parameters else []
    if not found or (kind is Command and len(found) > 1):
        raise AggregateError(
            f"{aggregate.__name__}.{method.__name__} does not say which {kind.__name__.lower()} it takes.",
            hint=f"Annotate its parameter with a {kind.__name__.lower()} class.",
        )
    return found


_PAGE = 500
_AT_A_TIME = 64
"""Commands of one type that are decided at a time, for different streams."""


class Streams:
    """Loads the state of streams from the event store. Handlers may ask for it by this type."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def load(self, decider: Decider[S], stream: str) -> tuple[S, int]:
        """Fold a stream into its state; returns it with the last stream position (-1 for a new stream)."""
        state, position = decider.initial(), -1
        while page := await self._store.read(stream, after=position, limit=_PAGE):
            state = decider.fold(state, (event.message for event in page))
            position = page[-1].stream_position
            if len(page) < _PAGE:
                break
        return state, position


def handlers_of(decider: Decider[Any], component: str, retry: Retry | None) -> list[HandlerSpec]:
    """Make the handlers of a decider's commands."""
    return [
        HandlerSpec(
            component,
            command,
            _deciding(decider, command),
            concurrency=_AT_A_TIME,
            retry=retry,
            written_as=decider.decide,
            returns=returned,
        )
        for command, returned in decider.commands.items()
    ]


def _deciding(decider: Decider[Any], command_type: type[Command]) -> Callable[..., Any]:
    async def decide(command: Command, streams: Streams) -> Decision:
        stream = decider.stream_of(command)
        release = await decider.locks.acquire(stream)
        try:
            state, position = await streams.load(decider, stream)
            return Decision(decider.decided(state, command), stream, position, release)
        except BaseException:
            release()
            raise

    decide.__name__ = f"{decider.name}.{command_type.__name__}"
    return decide
