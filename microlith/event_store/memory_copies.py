"""Copies of events on their way into a log in memory: all are checked before the first is taken."""

from collections.abc import Callable, Iterable

from microlith.event_store.copies import EventCopy, RestoreError, write_head
from microlith.event_store.records import Decoding, StoredEvent, StoredType
from microlith.serialization import MessageTypes


def check_copies(
    copies: Iterable[EventCopy], stream_head: Callable[[str], int], knows: Callable[[str], bool]
) -> list[EventCopy]:
    """Check that copies continue a log, each its stream.

    Raises:
        RestoreError: Names the first that does not.
    """
    checked: list[EventCopy] = []
    streams: dict[str, int] = {}
    ids: set[str] = set()
    for copy in copies:
        write_head(copy)  # refuses what no store keeps
        expected = streams.get(copy.stream, stream_head(copy.stream)) + 1
        check_stream_position(copy, expected)
        if copy.message_id in ids or knows(copy.message_id):
            raise duplicate(copy)
        streams[copy.stream] = expected
        ids.add(copy.message_id)
        checked.append(copy)
    return checked


def check_stream_position(copy: EventCopy, expected: int) -> None:
    """Refuse a copy that is not the next of its stream.

    Raises:
        RestoreError: It is not.
    """
    if copy.stream_position != expected:
        raise RestoreError(
            copy.where,
            f"has stream position {copy.stream_position} in stream {copy.stream!r}, where {expected} comes next",
        )


def duplicate(copy: EventCopy) -> RestoreError:
    """Build the error for an id that was there before."""
    return RestoreError(copy.where, f"has the id {copy.message_id!r}, which an event before it has")


class MemoryCopies:
    """Turns copies into events.

    Args:
        types: The application's message types.
    """

    def __init__(self, types: MessageTypes) -> None:
        self._types = types
        self._decoding = Decoding(types)
        self._stored: dict[tuple[str, str, int], StoredType] = {}

    def event(self, copy: EventCopy, position: int) -> StoredEvent:
        """Make the event that stands at a position."""
        words = (copy.component, copy.type, copy.version)
        stored = self._stored.get(words)
        if stored is None:
            stored = self._stored[words] = StoredType(0, *words)
            stored.resolve(self._types)
        head = write_head(copy).encode()
        return StoredEvent(position, stored, head, copy.data, self._decoding)
