"""Projections outside the event store: rows in any database that the user opens.

At least once: how far one has come is noted in the store after its functions have returned, so a few events may come
again after a crash. The position tells which.
"""

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from microlith.envelope import Envelope
from microlith.errors import InjectionError, WiringError
from microlith.event_store.recorded_event import RecordedEvent
from microlith.event_store.tables import RowWriter, TableSpec
from microlith.messages import Event, Message
from microlith.projections.declared import Declared, Fold, takes_event
from microlith.projections.read_models import ReadModel

Reset = TypeVar("Reset", bound=Callable[..., Any])
Resolve = Callable[[Any], tuple[bool, Any]]
"""Takes an annotation; returns whether the component provides it, and what it provides."""


class Call:
    """One function of an external projection, with what it asks for.

    Attributes:
        is_async: Whether it runs on the loop; otherwise it runs in a thread.
    """

    def __init__(self, function: Callable[..., Any], fillers: dict[str, Callable[[RecordedEvent | None], Any]]) -> None:
        self.is_async = inspect.iscoroutinefunction(inspect.unwrap(function))
        self._function = function
        self._fillers = fillers

    def __call__(self, recorded: RecordedEvent | None) -> Any:
        """Call the function for an event; for None, when it is about no event."""
        return self._function(**{name: fill(recorded) for name, fill in self._fillers.items()})


class Calls:
    """The functions of an external projection, ready to be called.

    Attributes:
        by_event: For each event class, its function.
        reset: What empties the rows before a replay; None: it cannot be replayed.
    """

    def __init__(self, by_event: Mapping[type[Message], Call], reset: Call | None) -> None:
        self.by_event = by_event
        self.reset = reset


class ExternalProjection(Declared):
    """Functions that note events in a database of the user's.

    Attributes:
        component: Name of its component.
        short_name: Its own name; `name` is both, such as "auth.users".
        events: The event classes it takes.
    """

    kind = "external"
    inline = False
    rows: tuple[type[ReadModel], ...] = ()
    tables: Sequence[TableSpec] = ()
    fingerprint = "external"
    """Always the same: what it keeps elsewhere is not thrown away because its code changed."""

    def __init__(self, component: str, name: str) -> None:
        super().__init__(component, name)
        self._reset: Callable[..., Any] | None = None

    def on(self, *events: type[Event]) -> Callable[[Fold], Fold]:
        """Declare the function that notes events of these types: `async def`, or `def`, which runs in a thread.

        It may ask for the event, `Envelope`, `RecordedEvent` (which knows its position), and what the component
        provides. The same event may come again after a crash, so it must do no harm twice.
        """
        return self._declaring(events)

    def reset(self, function: Reset) -> Reset:
        """Declare the function that empties what the projection keeps, before a replay. It may ask for resources."""
        if self._reset is not None:
            raise WiringError(f"Projection {self.name} has two reset functions.", hint="Keep one.")
        self._reset = function
        return function

    def plan(self, resolve: Resolve) -> Calls:
        """Check the functions and plan their calls.

        Raises:
            InjectionError: A parameter that cannot be filled.
        """
        by_event: dict[type[Message], Call] = {
            event: self._plan(function, event, resolve) for event, function in self._functions.items()
        }
        return Calls(by_event, None if self._reset is None else self._plan(self._reset, None, resolve))

    def spec_of(self, row: type[ReadModel]) -> TableSpec | None:  # noqa: ARG002 (as of any projection)
        """Return None: it keeps no rows in the store."""
        return None

    def apply(self, event: RecordedEvent, rows: RowWriter) -> None:  # noqa: ARG002 (as of any projection)
        """Refuse: a store cannot run it.

        Raises:
            WiringError: Always.
        """
        raise WiringError(f"Projection {self.name} keeps its rows elsewhere.", hint="The application runs it.")

    def _plan(self, function: Callable[..., Any], event: type[Event] | None, resolve: Resolve) -> Call:
        hints = typing.get_type_hints(function)
        name = f"{self.name}.{function.__name__}"
        return Call(
            function,
            {
                parameter: self._filler(name, parameter, hints.get(parameter), event, resolve)
                for parameter in inspect.signature(function).parameters
            },
        )

    def _filler(
        self, name: str, parameter: str, annotation: Any, event: type[Event] | None, resolve: Resolve
    ) -> Callable[[RecordedEvent | None], Any]:
        known, value = resolve(annotation)
        if known:
            return lambda _: value
        if event is not None:
            if annotation is Envelope or typing.get_origin(annotation) is Envelope:
                return lambda recorded: None if recorded is None else recorded.envelope
            if annotation is RecordedEvent:
                return lambda recorded: recorded
            if takes_event(annotation, event):
                return lambda recorded: None if recorded is None else recorded.message
        of_event = "" if event is None else f"{event.__name__}, Envelope, RecordedEvent, or "
        raise InjectionError(
            name,
            parameter,
            annotation or "no annotation",
            hint=f"It may ask for {of_event}what the component provides with "
            f"`{self.component}.provides(Type, factory)`.",
        )
