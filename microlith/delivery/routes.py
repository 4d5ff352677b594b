"""Routes: for each message class, its kind and the lanes of its handlers.

Built once at start; subscriptions made while running add lanes of their own.
"""

from collections.abc import Iterator
from typing import Any

from microlith.errors import UnknownTypeError
from microlith.handlers.keys import KeyOf
from microlith.handlers.lanes import Lane
from microlith.messages import Kind, Message
from microlith.serialization import MessageType, MessageTypes


class Route:
    """Where the messages of one class go.

    Attributes:
        entry: What is known of the class.
        kind: Its kind.
        stored: Whether the store records its messages.
        lanes: The lanes of its handlers; at most one for a command or query.
        projections: How many projections take it; they see it inside the store's commit.
        inbound: The lane of its handler, for what comes over a transport; None when it comes from this process only.
        key: Tells what a command keeps its order with, as its handler says; None when nothing does.
        elsewhere: Who handles it in another process, by name; "" when nobody does.
        leaves: 1 for an event that is sent over a transport, too; 0 for all others.
    """

    __slots__ = ("elsewhere", "entry", "inbound", "key", "kind", "lanes", "leaves", "projections", "stored")

    def __init__(self, entry: MessageType) -> None:
        self.entry = entry
        self.kind: Kind = entry.kind
        self.stored = entry.kind in {"command", "event"}
        self.lanes: list[Lane] = []
        self.projections = 0
        self.inbound: Lane | None = None
        self.key: KeyOf | None = None
        self.elsewhere = ""
        self.leaves = 0

    @property
    def handling(self) -> list[Lane]:
        """The lanes of its handlers in this process, wherever its messages come from."""
        return self.lanes if self.inbound is None else [self.inbound, *self.lanes]


class Routes:
    """The routes of every declared message class."""

    def __init__(self, types: MessageTypes) -> None:
        self._types = types
        self._by_class: dict[type[Any], Route] = {entry.cls: Route(entry) for entry in types}
        self.get = self._by_class.get

    def of(self, cls: type[Any]) -> Route:
        """Return the route of a class.

        Raises:
            UnknownTypeError: No component declares the class.
        """
        route = self._by_class.get(cls)
        if route is None:
            names = [entry.name for entry in self._types]
            raise UnknownTypeError(
                cls.__name__ if issubclass(cls, Message) else f"{cls.__module__}.{cls.__name__}", names
            )
        return route

    def handled(self) -> list[str]:
        """Name the message types that somebody handles."""
        return [route.entry.name for route in self._by_class.values() if route.lanes]

    def lanes(self) -> Iterator[Lane]:
        """Yield every lane once."""
        yield from dict.fromkeys(lane for route in self._by_class.values() for lane in route.handling)
