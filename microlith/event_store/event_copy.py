"""The copy of an event: a record of what a store needs to record it again exactly as it was recorded elsewhere.

Knows no stores and no files.
"""

from collections.abc import Mapping
from typing import NamedTuple


class EventCopy(NamedTuple):
    """One event as it stood in a log.

    Attributes:
        component: Component that declared it.
        type: Its class name.
        version: Version of the shape it was written in.
        stream: Stream it stood in.
        stream_position: Place in that stream, from 0.
        message_id: Identity of the message.
        correlation_id: Shared by everything that one first message started.
        causation_id: Message id of the direct parent; None for a first message.
        microseconds: When the message was made, since the epoch.
        depth: Messages between it and the first one.
        headers: Free text pairs; None for none.
        data: The payload as JSON, byte by byte as it was stored.
        where: Where it comes from, for errors, such as "line 17".
    """

    component: str
    type: str
    version: int
    stream: str
    stream_position: int
    message_id: str
    correlation_id: str
    causation_id: str | None
    microseconds: int
    depth: int
    headers: Mapping[str, str] | None
    data: bytes
    where: str = ""
