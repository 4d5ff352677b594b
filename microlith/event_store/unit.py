"""What is written in one commit, and what becomes of it.

Plain records that the delivery fills and every store reads; see `EventStore.record` and `EventStore.complete`.

Knows no store.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from typing import Any

from microlith.envelope import Envelope
from microlith.event_store.recorded_event import RecordedEvent
from microlith.event_store.schedule import Change, Scheduling
from microlith.messages import Message


class PendingCommand:
    """A command that was accepted and not settled yet.

    Attributes:
        envelope: The command.
        sequence: Order of acceptance, growing.
        attempts: How often handling it was begun by an earlier process.
    """

    __slots__ = ("attempts", "envelope", "sequence")

    def __init__(self, envelope: Envelope[Message], sequence: int, attempts: int) -> None:
        self.envelope = envelope
        self.sequence = sequence
        self.attempts = attempts


class Acceptance(Enum):
    """What became of a message handed to `record`."""

    RECORDED = "recorded"
    """It is recorded; `done` will not be called."""
    UNDER_WAY = "under way"
    """`done` will be called after the commit."""
    DUPLICATE = "duplicate"
    """Its message id was recorded before; nothing was written, `done` will not be called. A store that
    finds this out only while it writes says so in `Committed.duplicates` instead."""


class Settlement:
    """That a handler is finished with a message, well or badly.

    Attributes:
        handler: Full name, such as "auth.login".
        envelope: The message that was handled.
        position: For an event: its global position. None for a command.
        checkpoint: For an event: every position up to and including this one is finished for this
            handler (-1: none). Positions above it that are finished are remembered one by one.
        error: Text of the failure; None when it went well. A failed message becomes a dead letter.
        attempts: How often it was tried in all.
        letter: Sequence of the dead letter that was tried again. It is removed when that went well, and has the new
            error and the attempts otherwise; position and checkpoint do not count. None for all others.
        key: What tells the message's key from the others of its handler, when it failed and its handler has keys.
        parked: Whether it was not tried, since a dead letter of its key is before it; `error` does not count then.
    """

    __slots__ = ("attempts", "checkpoint", "envelope", "error", "handler", "key", "letter", "parked", "position")

    digest: int | None = None
    """What tells the body of a command that came over a transport from others; see `ArrivedSettlement`."""

    def __init__(
        self,
        handler: str,
        envelope: Envelope[Any],
        position: int | None = None,
        checkpoint: int = -1,
        error: str | None = None,
        attempts: int = 1,
        letter: int | None = None,
        key: str | None = None,
        *,
        parked: bool = False,
    ) -> None:
        self.handler = handler
        self.envelope = envelope
        self.position = position
        self.checkpoint = checkpoint
        self.error = error
        self.attempts = attempts
        self.letter = letter
        self.key = key
        self.parked = parked

    @property
    def mark(self) -> str:
        """What a settled command is known by: its id, or another one if it came over a transport."""
        message_id = self.envelope.message_id
        return message_id if self.digest is None else arrival_mark(message_id)


class ArrivedSettlement(Settlement):
    """The same for a command that came over a transport and was never recorded here to be handled.

    It has a mark of its own, since the process that sent it may be this one: then its id means that it was sent.
    """

    __slots__ = ("digest",)

    def __init__(
        self,
        handler: str,
        envelope: Envelope[Any],
        digest: int,
        error: str | None = None,
        attempts: int = 1,
        key: str | None = None,
    ) -> None:
        super().__init__(handler, envelope, None, -1, error, attempts, None, key)
        self.digest = digest


def arrival_mark(message_id: str) -> str:
    """Return what a command that came over a transport is marked by when it is settled."""
    return f"arrived {message_id}"


class Place:
    """Where one event of a unit goes, when that is not where the others go.

    Attributes:
        stream: Name of its stream.
        expected_position: Last position in that stream before the unit (-1: the stream must be new; None: no check).
    """

    __slots__ = ("expected_position", "stream")

    def __init__(self, stream: str, expected_position: int | None = None) -> None:
        self.stream = stream
        self.expected_position = expected_position


class Unit:
    """One all-or-nothing write: messages to accept, and the settlement of the message that caused them.

    Attributes:
        envelopes: Commands and events, in order. An event whose message id is already in the log is left out.
        settlement: What is settled by the same commit; None for messages from outside.
        stream: Stream of the events; None: each goes to the stream named by its component.
        expected_position: Last stream position the writer has read (-1: the stream must be new; None: no check).
        places: Streams of single events, by message id; the others go where `stream` says. None for most.
        changes: Messages to keep for later, and schedules to forget; in order, after the envelopes. See `TimedUnit`.
        takes: Message id of the schedule that has come due, whose message is in the unit; None for all others.
    """

    __slots__ = ("envelopes", "expected_position", "places", "settlement", "stream")

    changes: Sequence[Change] = ()
    takes: str | None = None

    def __init__(
        self,
        envelopes: Sequence[Envelope[Any]],
        settlement: Settlement | None = None,
        stream: str | None = None,
        expected_position: int | None = None,
        places: Mapping[str, Place] | None = None,
    ) -> None:
        self.envelopes = envelopes
        self.settlement = settlement
        self.stream = stream
        self.expected_position = expected_position
        self.places = places


class TimedUnit(Unit):
    """A unit that has to do with schedules; most have not.

    A unit that takes a schedule which is no longer there writes nothing: its message was accepted before, or it was
    cancelled.
    """

    __slots__ = ("changes", "takes")

    def __init__(
        self,
        envelopes: Sequence[Envelope[Any]],
        settlement: Settlement | None = None,
        stream: str | None = None,
        expected_position: int | None = None,
        places: Mapping[str, Place] | None = None,
        *,
        changes: Sequence[Change] = (),
        takes: str | None = None,
    ) -> None:
        super().__init__(envelopes, settlement, stream, expected_position, places)
        self.changes = changes
        self.takes = takes


def carried_on(there: Mapping[str, int], names: Collection[str], start: int) -> dict[str, int]:
    """Return where checkpoints of these names begin, after those that were there; see `EventStore.carry_on`."""
    lowest = min(there.values(), default=start)
    fallen = [at for name, at in there.items() if name not in names]
    return {name: min(there[name], *fallen) if name in there and fallen else there.get(name, lowest) for name in names}


def message_ids(unit: Unit) -> list[str]:
    """Name every message of a unit, those for later too."""
    later = (change.envelope.message_id for change in unit.changes if isinstance(change, Scheduling))
    return [*(envelope.message_id for envelope in unit.envelopes), *later]


class Committed:
    """What a commit wrote.

    Attributes:
        events: The events that are now in the log, in position order.
        duplicates: Message ids that had been recorded before and were left out; of scheduled messages, too.
    """

    __slots__ = ("duplicates", "events")

    def __init__(self, events: Sequence[RecordedEvent], duplicates: Collection[str] = ()) -> None:
        self.events = events
        self.duplicates = duplicates


Done = Callable[[Committed | None, BaseException | None], None]
