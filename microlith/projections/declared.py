"""What every projection declares: its name, and the function for each event it takes."""

import typing
from collections.abc import Callable
from typing import Any, TypeVar

from microlith.event_store.recorded_event import RecordedEvent
from microlith.messages import Event, stored_names
from microlith.projections.read_models import ReadModelError

Fold = TypeVar("Fold", bound=Callable[..., Any])


class Declared:
    """The functions of a projection.

    Attributes:
        component: Name of its component.
        short_name: Its own name; `name` is both, such as "auth.users".
        events: The event classes it takes.
    """

    def __init__(self, component: str, name: str) -> None:
        self.component = component
        self.short_name = name
        self.events: list[type[Event]] = []
        self._names: dict[str, type[Event]] = {}
        self._functions: dict[type[Event], Callable[..., Any]] = {}

    @property
    def name(self) -> str:
        """Component and own name, such as "auth.users"."""
        return f"{self.component}.{self.short_name}"

    @property
    def place(self) -> tuple[str, int]:
        """File and line of its first function."""
        for function in self._functions.values():
            return function.__code__.co_filename, function.__code__.co_firstlineno
        return "?", 0

    def takes(self, event: RecordedEvent) -> bool:
        """Tell, without decoding, whether there is a function for this event."""
        return event.type in self._names

    def _declaring(self, events: tuple[type[Event], ...]) -> Callable[[Fold], Fold]:
        def declare(function: Fold) -> Fold:
            for event in events:
                if event in self._functions:
                    raise ReadModelError(
                        f"Projection {self.name} folds {event.__name__} twice.",
                        hint="Keep one function for each event.",
                    )
                self.events.append(event)
                self._functions[event] = function
                self._names.update(dict.fromkeys(stored_names(event), event))
            return function

        return declare


def takes_event(annotation: Any, event: type[Event]) -> bool:
    """Tell whether a parameter of this annotation, perhaps a union, takes events of a class."""
    members = typing.get_args(annotation) or (annotation,)
    return any(isinstance(member, type) and issubclass(event, member) for member in members)
