"""The handling under way, and how a new message inherits from it.

Held in a context variable, so tasks and threads started by a handler inherit it too.

Knows envelopes only; no bus, no application.
"""

from collections.abc import Mapping
from contextvars import ContextVar, Token
from time import time
from typing import Any, Protocol, Self, TypeVar

from microlith.envelope import REPLY_TO, Envelope
from microlith.errors import SentWhileFoldingError
from microlith.ids import new_id

M = TypeVar("M")


class Arrived(Protocol):
    """A command that came over a transport, as far as its handling needs it."""

    digest: int

    def settle(self) -> None:
        """Tell the transport that it was handled: the commit is done."""
        ...


class Handling:
    """One message on its way through one handler: queued, handled, finished.

    Attributes:
        handler: Full name of the handler, such as "auth.login".
        envelope: The message.
        position: Global position of an event; None for commands and queries.
        attempt: Which try this is, from 1. 0 for what an earlier process accepted and left; -N for a message
            that has been tried N times here and is to be tried again.
        conflicts: How often its decision lost a race for its stream; only set after the first.
        changes: What it wants changed about schedules by its commit; only set when it wants something.
        queued: When it entered the handler's lane. This and the next two in monotonic seconds.
        started: When the handler began.
        ended: When the handler ended.
        outcome: "ok", "failed", "timeout", "retried" or "ignored", once it is finished.
        reason: Why the handler had no use for the message; only set when it had none.
        outbox: What the handler has dispatched so far and not awaited; it goes out with the handler's commit.
        letter: Sequence of the dead letter that this is a retry of; None for all others.
        arrival: Over which it came, and what is to be settled then; None for what was sent here.
        letter_key: Key of that letter, if it has one.
        tried_before: How often the message was tried before it became that letter; 0 for all others.
        open: False once the handler has returned: what a left-over task dispatches then goes out by itself.
    """

    # What is not known from the start is set when it happens: one of these is made for every message.
    __slots__ = (
        "attempt",
        "changes",
        "conflicts",
        "ended",
        "envelope",
        "handler",
        "open",
        "outbox",
        "outcome",
        "position",
        "queued",
        "reason",
        "started",
    )

    started: float
    ended: float
    outcome: str
    reason: str
    conflicts: int
    changes: list[Any]
    # The same for all but dead letters that are tried again.
    letter: int | None = None
    letter_key: str | None = None
    tried_before: int = 0
    arrival: Arrived | None = None

    def __init__(
        self, handler: str, envelope: Envelope[Any], position: int | None, queued: float, attempt: int
    ) -> None:
        self.handler = handler
        self.envelope = envelope
        self.position = position
        self.queued = queued
        self.attempt = attempt
        self.outbox: list[Any] | None = None
        self.open = True

    def again(self, queued: float, attempt: int) -> "Handling":
        """Return the same message for another try."""
        return Handling(self.handler, self.envelope, self.position, queued, attempt)


class HandlingOfLetter(Handling):
    """A dead letter that is tried again. It has no position: the handler's checkpoint passed it long ago.

    Attributes:
        letter: Sequence of the dead letter.
        tried_before: How often the message was tried before this retry.
        letter_key: The letter's key, if it has one.
    """

    __slots__ = ("letter", "letter_key", "tried_before")

    def __init__(
        self,
        handler: str,
        envelope: Envelope[Any],
        letter: int,
        tried_before: int,
        queued: float,
        letter_key: str | None = None,
    ) -> None:
        super().__init__(handler, envelope, None, queued, tried_before + 1)
        self.letter = letter
        self.tried_before = tried_before
        self.letter_key = letter_key

    def again(self, queued: float, attempt: int) -> Handling:
        """Return the same letter for another try."""
        again = HandlingOfLetter(
            self.handler, self.envelope, self.letter or 0, self.tried_before, queued, self.letter_key
        )
        again.attempt = attempt
        return again


class HandlingOfArrival(Handling):
    """A command that came over a transport.

    Attributes:
        arrival: What is to be told once it is settled.
    """

    __slots__ = ("arrival",)

    arrival: Arrived | None

    def __init__(
        self, handler: str, envelope: Envelope[Any], arrival: Arrived | None, queued: float, attempt: int
    ) -> None:
        super().__init__(handler, envelope, None, queued, attempt)
        self.arrival = arrival

    def again(self, queued: float, attempt: int) -> Handling:
        """Return the same arrival for another try."""
        return HandlingOfArrival(self.handler, self.envelope, self.arrival, queued, attempt)


class Folding(Handling):
    """Stands where a handling stands while events are folded: whatever would send by it, or wait, raises.

    So the ways of sending need not look for it. A context manager: inside, `handling_now` is this. Tasks, and
    threads that inherit the context, keep it for good.
    """

    __slots__ = ("_token",)

    _token: Token[Handling | None]

    def __init__(self, name: str) -> None:
        self.handler = name
        self.position = None

    @property
    def envelope(self) -> Envelope[Any]:  # type: ignore[override]  # an attribute above; here it raises
        """Nothing is being handled.

        Raises:
            SentWhileFoldingError: Always.
        """
        raise SentWhileFoldingError(self.handler)

    @property
    def open(self) -> bool:  # type: ignore[override]  # an attribute above; here it raises
        """Nothing goes out with anything.

        Raises:
            SentWhileFoldingError: Always.
        """
        raise SentWhileFoldingError(self.handler)

    def __enter__(self) -> Self:
        self._token = handling_now.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        handling_now.reset(self._token)


handling_now: ContextVar[Handling | None] = ContextVar("microlith_handling", default=None)


def refuse_while_folding() -> None:
    """Raise if events are being folded here.

    Raises:
        SentWhileFoldingError: They are.
    """
    handling = handling_now.get()
    if isinstance(handling, Folding):
        raise SentWhileFoldingError(handling.handler)


def current_envelope() -> Envelope[Any] | None:
    """Return the envelope of the message being handled here, or None outside a handler."""
    handling = handling_now.get()
    return None if handling is None or isinstance(handling, Folding) else handling.envelope


def correlated(message: M, *, headers: Mapping[str, str] | None = None) -> Envelope[M]:
    """Wrap a message in an envelope, which has a correlation id to wait on.

    Inside a handler the envelope inherits the correlation id of the message being handled and is
    caused by it; elsewhere it starts a correlation of its own.

    Raises:
        SentWhileFoldingError: A projection, or the state of an aggregate, is being folded here.
    """
    return enveloped(message, handling_now.get(), headers)


def enveloped(message: M, handling: Handling | None, headers: Mapping[str, str] | None = None) -> Envelope[M]:
    """Wrap a message that is sent during a handling, or outside of any (None)."""
    message_id = new_id()
    if handling is None:
        return Envelope(message, message_id, message_id, None, time(), 0, headers)
    return caused_by(handling.envelope, message, message_id, headers)


def caused_by(
    parent: Envelope[Any], message: M, message_id: str, headers: Mapping[str, str] | None = None
) -> Envelope[M]:
    """Wrap a message that another one caused: same correlation, one deeper, told to the same inboxes."""
    if parent.headers is not None and (inboxes := parent.headers.get(REPLY_TO)):
        headers = {**(headers or {}), REPLY_TO: inboxes}
    return Envelope(message, message_id, parent.correlation_id, parent.message_id, time(), parent.depth + 1, headers)
