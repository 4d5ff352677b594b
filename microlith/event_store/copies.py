"""Copies of events: made from a log, and written the way a log keeps them.

A copy keeps the payload as bytes and the time as a whole number, so that nothing of it changes on the way.

Knows no files and no format of them.
"""

from pydantic_core import to_json

from microlith.errors import StoreError
from microlith.event_store.event_copy import EventCopy
from microlith.event_store.protocol import RecordedEvent
from microlith.event_store.records import LATEST, MICROSECONDS, write_stream

__all__ = ["EventCopy", "RestoreError", "copy_of", "write_head"]

_NUL = "\\u0000"


class RestoreError(StoreError):
    """A copy cannot be recorded; nothing was written.

    Attributes:
        where: Where the copy comes from, such as "line 17"; empty when unknown.
    """

    def __init__(self, where: str, problem: str, *, hint: str = "") -> None:
        super().__init__(
            f"{where}: {problem}." if where else f"A copied event {problem}.",
            hint=hint or "Nothing was written. Import a whole log, in its order, as it was exported.",
        )
        self.where = where


def copy_of(event: RecordedEvent) -> EventCopy:
    """Copy an event of a log."""
    return EventCopy(
        event.component,
        event.type,
        event.version,
        event.stream,
        event.stream_position,
        event.message_id,
        event.correlation_id,
        event.causation_id,
        event.microseconds,
        event.depth,
        event.headers or None,
        event.data,
    )


def write_head(copy: EventCopy) -> str:
    """Write everything of a copy but its type and payload, as a log keeps it.

    Raises:
        StreamNameError: The stream has a name that cannot be stored.
        RestoreError: A text in it holds a NUL or is not Unicode, or its time is none.
    """
    if not 0 <= copy.microseconds <= LATEST * MICROSECONDS:
        raise RestoreError(copy.where, f"has the time {copy.microseconds}, which is no moment")
    facts = (
        copy.stream_position,
        copy.message_id,
        copy.correlation_id,
        copy.causation_id,
        copy.microseconds,
        copy.depth,
        dict(copy.headers) if copy.headers else None,
    )
    try:
        text = to_json(facts).decode()
    except ValueError:
        text = _NUL
    if _NUL in text:
        raise RestoreError(copy.where, "has an id or a header with a NUL or half a character")
    return f"{write_stream(copy.stream)}{text[1:]}"
