"""Aggregates in the form of a class: its fields are the state, its methods decide and evolve.

Only declares; a class is read into a decider.
"""

import inspect
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, TypeVar, Unpack

from pydantic import BaseModel, ConfigDict

from microlith.aggregates.decider import AggregateError, Decider
from microlith.handlers.declared import messages_in
from microlith.messages import Command, Event, Message

S = TypeVar("S")
C = TypeVar("C", bound=Command)
E = TypeVar("E", bound=Event)
Decided = TypeVar("Decided", bound=Message | Iterable[Message] | None)

_DECIDES = "__microlith_decides__"
_EVOLVES = "__microlith_evolves__"


def decides(method: Callable[[S, C], Decided]) -> Callable[[S, C], Decided]:
    """Mark a method of an aggregate that takes a command and returns the events it leads to (one, several or None)."""
    setattr(method, _DECIDES, True)
    return method


def evolves(method: Callable[[S, E], None]) -> Callable[[S, E], None]:
    """Mark a method of an aggregate that takes an event and changes the state. It must not fail, and decides nothing."""
    setattr(method, _EVOLVES, True)
    return method


class Aggregate(BaseModel):
    """State that is folded from one stream, with the methods that decide its commands.

    Fields hold the state and need defaults; `@decides` methods take a command and return events,
    `@evolves` methods take an event and change the fields.

    `class Account(Aggregate, stream="account-{account_id}"): ...`
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=False)

    __stream__: ClassVar[str] = ""
    __snapshot_every__: ClassVar[int | None] = None

    def __init_subclass__(
        cls, *, stream: str = "", snapshot_every: int | None = None, **options: Unpack[ConfigDict]
    ) -> None:
        """Take the class keywords.

        Args:
            stream: Template of the stream's name over the commands' fields.
            snapshot_every: Events after which the state is kept, so that it need not be folded from the first one.
            options: Pydantic's own.
        """
        super().__init_subclass__(**options)

    @classmethod
    def __pydantic_init_subclass__(cls, *, stream: str = "", snapshot_every: int | None = None, **_: Any) -> None:
        cls.__stream__ = stream or cls.__stream__
        cls.__snapshot_every__ = snapshot_every if snapshot_every is not None else cls.__snapshot_every__


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
    written: dict[type[Any], Any] = {}
    for name, method in inspect.getmembers(aggregate, inspect.isfunction):
        if hasattr(method, _DECIDES):
            taken, returned = _signature(aggregate, method, Command)
            _once(aggregate, deciding, taken, name)
            deciding[taken] = (name, returned)
            written[taken] = method
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

    decider = Decider(
        aggregate.__name__,
        aggregate.__stream__,
        initial=aggregate,
        decide=decide,
        evolve=evolve,
        commands={command: returned for command, (_, returned) in deciding.items()},
        events=list(evolving),
        snapshot_every=aggregate.__snapshot_every__,
        state=aggregate,
        folding=[method for method in _own_methods(aggregate) if not hasattr(method, _DECIDES)],
    )
    decider.written.update(written)
    return decider


def _own_methods(aggregate: type[Aggregate]) -> list[Any]:
    """List the functions that its classes define, by name: those that fold, and those they may call."""
    classes = [cls for cls in aggregate.__mro__ if issubclass(cls, Aggregate) and cls is not Aggregate]
    found = [one for cls in classes for _, one in sorted(vars(cls).items()) if inspect.isfunction(one)]
    return [one for one in found if not one.__module__.startswith("pydantic")]


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
    if more := [name for name in parameters[1:] if _is_required(method, name)]:
        raise AggregateError(
            f"{aggregate.__name__}.{method.__name__} asks for {more[0]!r} too, and nobody gives it that.",
            hint=f"It takes the {kind.__name__.lower()} and nothing else; what it needs to know stands in its fields, "
            "such as the moment it was asked for.",
        )
    return found


def _is_required(method: Any, name: str) -> bool:
    parameter = inspect.signature(method).parameters[name]
    return parameter.default is parameter.empty and parameter.kind not in (
        parameter.VAR_POSITIONAL,
        parameter.VAR_KEYWORD,
    )
