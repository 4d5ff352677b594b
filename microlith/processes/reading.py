"""Reads a process class and checks it; whatever cannot work is an error at start.

Runs no method of it.
"""

import inspect
import string
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any

from pydantic import SecretBytes, SecretStr, create_model

from microlith.envelope import Envelope
from microlith.handlers.declared import messages_in
from microlith.handlers.schedules import Cancelled, Scheduled
from microlith.messages import Event, Message, is_message
from microlith.privacy.marking import personal_fields
from microlith.processes.process import CONTINUES, STARTS, Process, ProcessError, ProcessStepped
from microlith.serialization import Upcaster

_STEP = "__microlith_step__"
_OTHERS = (None, type(None), Any, ..., Scheduled, Cancelled)
"""What a method may say it returns, beside messages."""


class Taking:
    """How a process takes one type of event.

    Attributes:
        method: The method, unbound.
        starts: Whether the event starts a process.
        key: Template of the key over the event's fields; "" for the correlation id.
        returns: Messages it says it returns.
    """

    __slots__ = ("key", "method", "returns", "starts")

    def __init__(self, method: Callable[..., Any], key: str, returns: Sequence[type[Message]], *, starts: bool) -> None:
        self.method = method
        self.starts = starts
        self.key = key
        self.returns = returns


class ProcessType:
    """A process class, read and checked.

    Attributes:
        cls: The class.
        name: Its name; unique in the application, for its streams are named after it.
        takes: How it takes each type of event.
        step: The event that holds one step of it.
    """

    def __init__(self, cls: type[Process]) -> None:
        self.cls = cls
        self.name = cls.__name__
        self.takes: dict[type[Event], Taking] = {}
        _check_fields(cls)
        for method, marked in _methods(cls):
            self._add(method, marked)
        if not any(taking.starts for taking in self.takes.values()):
            raise ProcessError(
                f"Nothing starts the process {self.name}.", hint="Mark a method that takes an event with @starts."
            )
        self.step = _step_of(cls)

    @property
    def place(self) -> tuple[str, int]:
        """File and line of its first method."""
        code = inspect.unwrap(next(iter(self.takes.values())).method).__code__
        return code.co_filename, code.co_firstlineno

    def key_of(self, envelope: Envelope[Any]) -> str:
        """Tell which process of this kind an event belongs to.

        Raises:
            ValueError: A field of the key is None.
        """
        template = self.takes[type(envelope.message)].key
        if not template:
            return envelope.correlation_id
        fields = {name: getattr(envelope.message, name) for name in fields_of(template)}
        missing = next((name for name, value in fields.items() if value is None), None)
        if missing is not None:
            raise ValueError(
                f"{type(envelope.message).__name__}.{missing} is None and cannot be the key of {self.name}"
            )
        return template.format(**fields)

    def key_if_known(self, envelope: Envelope[Any]) -> str | None:
        """Tell the key of an event for its place in the queue; None when it has none: then taking it fails."""
        try:
            return self.key_of(envelope)
        except ValueError:
            return None

    def streams_of(self, key: str) -> list[str]:
        """Name the stream of one process, and those it may stand in since it had another name."""
        return [f"process-{name}-{key}" for name in (self.name, *self.cls.__formerly__)]

    def ignores(self, event: Event, key: str, *, started: bool, ended: bool) -> str | None:
        """Say why an event is not for a process; None when it is."""
        if ended:
            return f"the process {self.name} {key!r} has ended"
        if not started and not self.takes[type(event)].starts:
            return f"no process {self.name} {key!r} has started"
        return None

    def step_of(self, process: Process, event: Event) -> tuple[list[Any], bool]:
        """Let a process take an event; return what it sends, in order, and whether it has ended."""
        returned = self.takes[type(event)].method(process, event)
        ended = process._ended  # noqa: SLF001 (its own; hidden so that no field of an author's can be called like it)
        if returned is None:
            return [], ended
        return list(returned) if isinstance(returned, list | tuple | types.GeneratorType) else [returned], ended

    def _add(self, method: Callable[..., Any], marked: Callable[..., Any]) -> None:
        name = f"{self.name}.{method.__name__}"
        own_key = getattr(marked, STARTS, "") or getattr(marked, CONTINUES, "")
        template = own_key or self.cls.__key__
        if template and not fields_of(template):
            template = f"{{{template}}}"
        if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
            raise ProcessError(
                f"{name} is `async def`, but a process decides at once.",
                hint="Return a command, and do what takes time in its handler.",
            )
        hints = _hints(name, method)
        returns = _returned(name, hints.get("return"))
        for event in _taken(name, method, hints):
            if event in self.takes:
                other = self.takes[event].method.__name__
                raise ProcessError(
                    f"{self.name} takes {event.__name__} in two methods, {other} and {method.__name__}.",
                    hint="Keep one of them.",
                )
            _check_key(name, template, event)
            self.takes[event] = Taking(method, template, returns, starts=hasattr(marked, STARTS))


def process_type(cls: type[Process]) -> ProcessType:
    """Read a process class.

    Raises:
        ProcessError: It cannot work as it is written; says what, where, and what to do.
    """
    return ProcessType(cls)


def state_upcaster(function: Upcaster) -> Upcaster:
    """Make an upcaster of a state into one of the step that holds it."""

    @wraps(function)  # so that a description names the user's
    def upcast(step: dict[str, Any]) -> dict[str, Any]:
        return {**step, "state": function(step["state"])}

    return upcast


def fields_of(template: str) -> list[str]:
    """List the fields that a template of a key names."""
    return [name for _, name, _, _ in string.Formatter().parse(template) if name]


def _check_fields(cls: type[Process]) -> None:
    required = next((name for name, field in cls.model_fields.items() if field.is_required()), None)
    if required is not None:
        raise ProcessError(
            f"{cls.__name__}.{required} has no default: a process that starts has a state, too.",
            hint="Give every field of a process a default.",
        )
    if cls.end is not Process.end:
        raise ProcessError(
            f"{cls.__name__} has an `end` of its own, which hides the one that ends it.", hint="Rename it."
        )


def _methods(cls: type[Process]) -> Iterator[tuple[Callable[..., Any], Callable[..., Any]]]:
    """Yield the methods that take events, in the order in which they are written, each with the one that is marked.

    That is the same, or one that it overrides.
    """
    for name in dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base)):
        written = [vars(base)[name] for base in cls.__mro__ if name in vars(base)]
        marked = next((one for one in written if hasattr(one, STARTS) or hasattr(one, CONTINUES)), None)
        if marked is not None and inspect.isfunction(written[0]):
            yield written[0], marked


def _hints(name: str, method: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(method)
    except (NameError, TypeError, AttributeError) as error:
        raise ProcessError(f"An annotation of {name} means nothing: {error}.", hint="Import what it names.") from error


def _taken(name: str, method: Callable[..., Any], hints: dict[str, Any]) -> list[type[Event]]:
    parameters = list(inspect.signature(method).parameters)[1:]
    found = [cls for cls in messages_in(hints.get(parameters[0])) if issubclass(cls, Event)] if parameters else []
    if not found or len(parameters) > 1:
        raise ProcessError(
            f"{name} takes {', '.join(parameters) or 'nothing'}; a method of a process takes one event.",
            hint="Annotate its one parameter with an event class, or with several: `A | B`.",
        )
    return found


def _check_key(name: str, template: str, event: type[Event]) -> None:
    for field in fields_of(template):
        if field not in event.model_fields:
            raise ProcessError(
                f"{event.__name__}, which {name} takes, has no field {field!r}, which is the key of the process.",
                hint='Name its field with `@continues(key="...")`, or leave `key` out: then it is the correlation id.',
            )
        if event.model_fields[field].annotation in (SecretStr, SecretBytes):
            raise ProcessError(
                f"{event.__name__}.{field} is a secret and cannot be the key of {name.partition('.')[0]}.",
                hint="Streams are named after the key: choose a field that may be seen.",
            )
        if field in personal_fields(event):
            raise ProcessError(
                f"{event.__name__}.{field} is personal and cannot be the key of {name.partition('.')[0]}.",
                hint="Streams are named after the key, and their names stay: choose an id.",
            )


def _returned(name: str, annotation: Any) -> list[type[Message]]:
    """List the messages that a return annotation names.

    Raises:
        ProcessError: It names something that a process cannot send.
    """
    for leaf in _leaves(annotation):
        sendable = is_message(leaf) and leaf.__kind__ in ("command", "event")
        if not sendable and leaf not in _OTHERS and not _is_kind(leaf):
            raise ProcessError(
                f"{name} says it returns {inspect.formatannotation(leaf)}, which a process cannot send.",
                hint="Return commands and events: one, several in a list, or None.",
            )
    return list(dict.fromkeys(messages_in(annotation)))


def _is_kind(leaf: Any) -> bool:
    return isinstance(leaf, type) and issubclass(leaf, Message) and leaf.__name__ in ("Command", "Message", "Event")


def _leaves(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
        for argument in typing.get_args(annotation):
            yield from _leaves(argument)
    else:
        yield annotation


def _step_of(cls: type[Process]) -> type[ProcessStepped]:
    """Make the event that holds a step, once for each class. It is stored under a name, as any other event."""
    known: type[ProcessStepped] | None = vars(cls).get(_STEP)
    if known is None:
        known = create_model(
            f"{cls.__name__}Stepped",
            __base__=ProcessStepped,
            __module__=cls.__module__,
            __doc__=f"A step of the process {cls.__name__}: the event it took, and its state afterwards.",
            __cls_kwargs__={
                "version": cls.__version__,
                "formerly": tuple(f"{name}Stepped" for name in cls.__formerly__),
            },
            state=(cls, ...),
        )
        setattr(cls, _STEP, known)
    return known
