"""Deciders: how the commands of one kind of stream are decided, and how its events make its state.

Reads and writes nothing: loading is the streams', committing the delivery's.
"""

import string
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from pydantic.errors import PydanticUserError

from microlith.aggregates.shape import StateShape
from microlith.context import Folding
from microlith.errors import WiringError
from microlith.handlers.decisions import KeyedLocks
from microlith.handlers.schedules import Cancelled, Scheduled
from microlith.messages import Command, Event, Message

S = TypeVar("S")


class AggregateError(WiringError):
    """An aggregate or decider that is declared in a way that cannot work."""


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
        shape: How its state is written as a snapshot; None: there are no snapshots.
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
        snapshot_every: int | None = None,
        state: type[S] | None = None,
        folding: Sequence[Callable[..., Any]] | None = None,
    ) -> None:
        """Declare a decider.

        Args:
            name: Such as "Account".
            stream: Template of the stream's name.
            initial: Makes the state of a new stream.
            decide: Takes a state and a command.
            evolve: Takes a state and an event.
            commands: What it decides, with the events each may lead to.
            events: What it evolves by.
            snapshot_every: Events of a stream after which its state is kept, so that it need not be folded from the
                first one; by default never.
            state: The type of the state, when what `initial` returns does not tell; only needed for snapshots.
            folding: The functions whose change makes snapshots useless; by default `evolve`.

        Raises:
            AggregateError: It cannot work as it is declared.
        """
        self.name = name
        self.stream = stream
        self.initial = initial
        self.decide = decide
        self.evolve = evolve
        self.commands = commands
        self.events = tuple(events)
        self.locks = KeyedLocks()
        self.written: dict[type[Command], Callable[..., Any]] = {}
        self._check()
        self.shape = None if snapshot_every is None else self._shape(snapshot_every, state, folding or (evolve,))

    def stream_of(self, message: Message) -> str:
        """Name the stream that a command concerns, or an event that has the fields for it."""
        fields = {name: getattr(message, name) for name in self.stream_fields}
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
        return [result] if isinstance(result, Message | Scheduled | Cancelled) else list(result)

    def _shape(self, every: int, state: type[S] | None, folding: Sequence[Callable[..., Any]]) -> StateShape[S]:
        if every < 1:
            raise AggregateError(f"{self.name} asks for a snapshot every {every} events.", hint="Say 1 or more.")
        state = state or _returned(self.initial)
        if state is None:
            raise AggregateError(
                f"{self.name} asks for snapshots, and nothing tells the type of its state.",
                hint="Annotate what `initial` returns, or give `state=`.",
            )
        try:
            return StateShape(state, every, self.events, folding)
        except PydanticUserError as error:
            raise AggregateError(
                f"The state of {self.name} cannot be kept as a snapshot: {error.message}",
                hint="Use fields that pydantic can write as JSON, or leave out snapshot_every.",
            ) from error

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


def _returned(initial: Callable[[], S]) -> type[S] | None:
    """Return the type of what a function makes; None when that is not written down."""
    if isinstance(initial, type):
        return initial
    try:
        found: type[S] | None = typing.get_type_hints(initial).get("return")
    except (NameError, TypeError, AttributeError):
        return None
    return found
