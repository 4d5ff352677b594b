"""The envelope: one message and what is known about its journey.

A message is wrapped exactly once, before any handler runs. Handlers see the message; event
stores, transports and the tracer see the envelope.

Never decides anything, and knows no kind of message: routing lives in `buses`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Generic, TypeVar

M_co = TypeVar("M_co", covariant=True)
N = TypeVar("N")

REPLY_TO = "microlith-reply-to"
"""Header that names the inboxes of the processes a message came through; what it causes is told to them."""
ORIGIN = "microlith-origin"
"""Header of a message that came over a transport: the process, or the source, that it came from."""


class Envelope(Generic[M_co]):
    """A message with its ids, time and headers. Immutable by convention: nothing changes one after dispatch.

    Attributes:
        message: The message itself.
        message_id: Identity of this one message, for deduplication.
        correlation_id: Shared by everything that one first message started; never overwritten.
        causation_id: Message id of the direct parent; None for a first message.
        time: When it was made, seconds since the epoch, UTC. Data only: nothing is ordered by it.
        depth: How many messages lie between it and the first one; 0 for a first message.
        headers: Free text pairs that travel with it, such as a trace context; empty for most.
    """

    __slots__ = ("causation_id", "correlation_id", "depth", "headers", "message", "message_id", "time")

    def __init__(
        self,
        message: M_co,
        message_id: str,
        correlation_id: str,
        causation_id: str | None,
        time: float,
        depth: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.message = message
        self.message_id = message_id
        self.correlation_id = correlation_id
        self.causation_id = causation_id
        self.time = time
        self.depth = depth
        self.headers = headers

    @property
    def sent_at(self) -> datetime:
        """The time as a datetime in UTC."""
        return datetime.fromtimestamp(self.time, UTC)

    def holding(self, message: N) -> "Envelope[N]":
        """Return an envelope with the same facts and another message."""
        return Envelope(
            message,
            self.message_id,
            self.correlation_id,
            self.causation_id,
            self.time,
            self.depth,
            self.headers,
        )

    def with_headers(self, headers: Mapping[str, str]) -> "Envelope[M_co]":
        """Return an envelope with the same message and facts, and with these headers only."""
        return Envelope(
            self.message,
            self.message_id,
            self.correlation_id,
            self.causation_id,
            self.time,
            self.depth,
            headers,
        )

    def __repr__(self) -> str:
        return f"Envelope({type(self.message).__name__}, message_id={self.message_id!r}, correlation_id={self.correlation_id!r})"
