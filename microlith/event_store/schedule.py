"""A schedule: a message that is to be sent later, as a store keeps it and as it is asked for.

It stays until its message is accepted, or somebody cancels it. Which of the two comes first is decided by the commit.

Tells no time: what is due is asked of the store with the time it is.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from microlith.envelope import Envelope
from microlith.messages import Message

Turn = tuple[float, int]
"""Where a schedule stands in the line: when it is due, and the order in which it was made."""

FIRST: Turn = (float("-inf"), 0)
"""Before every schedule."""


class Scheduling:
    """A message to keep until it is due.

    Attributes:
        envelope: The message.
        due: Seconds since the epoch.
        steady: Whether it was asked for as so much time from then on: for as long as the process lives, no jump of
            the wall clock moves it.
        name: Unique in its scope: an older one of that name is replaced. None: it has none.
        scope: Where the name is unique: the correlation, or the stream of the process that asked for it.
    """

    __slots__ = ("due", "envelope", "name", "scope", "steady")

    def __init__(
        self,
        envelope: Envelope[Any],
        due: float,
        *,
        steady: bool = False,
        name: str | None = None,
        scope: str | None = None,
    ) -> None:
        self.envelope = envelope
        self.due = due
        self.steady = steady
        self.name = name
        self.scope = envelope.correlation_id if scope is None else scope


class Cancelling:
    """A schedule to forget, if it is still there.

    Attributes:
        scope: Where its name is unique, when it is meant by name. With neither name nor id, all of the scope are meant.
        name: Its name, or None when it is meant by id.
        message_id: Its message.
    """

    __slots__ = ("message_id", "name", "scope")

    def __init__(self, scope: str, name: str | None = None, message_id: str | None = None) -> None:
        self.scope = scope
        self.name = name
        self.message_id = message_id


Change = Scheduling | Cancelling


class Schedule:
    """A message that is to be sent later.

    Attributes:
        sequence: Order in which they were made; used again once it is gone.
        message_id: Id the message will have.
        correlation_id: Its correlation.
        causation_id: Message that was being handled when it was asked for; None: it came from outside.
        component: Component that declares the message.
        type: Class name of the message.
        data: The payload as JSON: secrets in clear, personal fields sealed.
        due: When it is to be sent, seconds since the epoch.
        steady: Whether it was asked for as so much time from then on.
        name: Its name; None for most.
        scope: Where the name is unique: the correlation, or the stream of the process that asked for it.
        asked: When it was asked for, seconds since the epoch.
        error: Why it could not be sent when it was due; None as long as nobody tried in vain.
    """

    __slots__ = (
        "_open",
        "asked",
        "causation_id",
        "component",
        "correlation_id",
        "data",
        "due",
        "error",
        "message_id",
        "name",
        "scope",
        "sequence",
        "steady",
        "type",
    )

    def __init__(
        self,
        sequence: int,
        message_id: str,
        correlation_id: str,
        causation_id: str | None,
        component: str,
        type: str,  # noqa: A002 (the word every other record uses)
        data: bytes,
        due: float,
        *,
        steady: bool,
        name: str | None,
        scope: str,
        asked: float,
        error: str | None,
        open: Callable[[], Envelope[Message]],  # noqa: A002 (what it does)
    ) -> None:
        self.sequence = sequence
        self.message_id = message_id
        self.correlation_id = correlation_id
        self.causation_id = causation_id
        self.component = component
        self.type = type
        self.data = data
        self.due = due
        self.steady = steady
        self.name = name
        self.scope = scope
        self.asked = asked
        self.error = error
        self._open = open

    @property
    def due_at(self) -> datetime:
        """When it is to be sent, in UTC."""
        return datetime.fromtimestamp(self.due, UTC)

    @property
    def turn(self) -> Turn:
        """Where it stands in the line."""
        return self.due, self.sequence

    @property
    def envelope(self) -> Envelope[Message]:
        """The message in its envelope, as it was when it was asked for.

        Raises:
            UnknownTypeError: No component declares its type any more.
            PayloadError: It does not fit its class as it is now.
        """
        return self._open()

    def __repr__(self) -> str:
        named = f" {self.name!r}" if self.name else ""
        return f"Schedule({self.component}.{self.type}{named}, due {self.due_at:%Y-%m-%d %H:%M:%S}Z)"
