"""What every event store does, and what it promises.

A store keeps three things together so that one commit covers them: the event log, the commands
that are accepted but not handled yet, and the read models with their checkpoints.

Knows streams, positions and bytes; knows no handlers and no buses.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Literal, Protocol, TypeVar

from microlith.envelope import Envelope
from microlith.errors import StoreError
from microlith.event_store.dead_letter import DeadLetter, KeyedLetters
from microlith.event_store.event_copy import EventCopy
from microlith.event_store.projecting import Projecting, ProjectionState, Reached, Rebuilt
from microlith.event_store.recorded_event import RecordedEvent
from microlith.event_store.schedule import FIRST, Schedule, Turn
from microlith.event_store.sharing import Sharing
from microlith.event_store.snapshot import Snapshot, SnapshotCheck, SnapshotStore
from microlith.event_store.tables import Column, Key, KeyType, RowReader, RowWriter, TableSpec
from microlith.event_store.unit import (
    Acceptance,
    ArrivedSettlement,
    Committed,
    Done,
    PendingCommand,
    Place,
    Settlement,
    TimedUnit,
    Unit,
    message_ids,
)
from microlith.messages import Message

__all__ = [
    "Acceptance",
    "ArrivedSettlement",
    "Column",
    "Committed",
    "DeadLetter",
    "Done",
    "EventCopy",
    "EventStore",
    "Key",
    "KeyType",
    "KeyedLetters",
    "PendingCommand",
    "Place",
    "Projecting",
    "ProjectionState",
    "Reached",
    "Rebuilt",
    "RecordedEvent",
    "RowReader",
    "RowWriter",
    "Schedule",
    "Settlement",
    "Snapshot",
    "SnapshotCheck",
    "TableSpec",
    "TimedUnit",
    "Unit",
    "message_ids",
]

T = TypeVar("T")


class EventStore(SnapshotStore, Protocol):
    """Keeps events, accepted commands and read models. One process owns one, or several share it.

    Writes are committed in the order of the calls. Positions are given in commit order and are
    visible in that order: a reader never sees a new event below one it has seen. `done` is called
    on the loop that opened the store, in commit order, after the commit is durable; `record`,
    `complete` and `settle` are called on that loop, too.
    """

    @property
    def durability(self) -> Literal["memory", "durable", "fast"]:
        """What survives: nothing; everything acknowledged; all but the newest after a power cut."""
        ...

    @property
    def engine(self) -> str:
        """What keeps the events, with its version, such as "SQLite 3.51.3"; "memory" for the process itself."""
        ...

    @property
    def leads(self) -> bool:
        """Whether this process may do what only one may: it owns the store, or leads those who share it."""
        ...

    @property
    def sharing(self) -> Sharing | None:
        """What the processes that share the store need of each other; None where one process owns it."""
        ...

    async def open(self, projections: Sequence[Projecting] = ()) -> None:
        """Take ownership, recover, create what is missing, and bring projections up to the head.

        Raises:
            StoreLockedError: Another process owns it; nothing was touched.
            CorruptionError: The newest events are damaged.
        """
        ...

    async def close(self) -> None:
        """Finish the writes under way and let go. Safe to call twice."""
        ...

    @property
    def failure(self) -> StoreError | None:
        """Why the store stopped writing for good; None while it writes. Reading goes on."""
        ...

    def record(self, envelope: Envelope[Any], done: Done) -> Acceptance:
        """Record one command or event that was dispatched.

        For an event `done` is always called, so that its position is known: perhaps before this returns.
        Errors are handed to `done`, too.
        """
        ...

    def complete(self, unit: Unit, done: Done) -> None:
        """Write a unit, all or none. On an error `done` gets it, and nothing of the unit is written.

        A unit whose settlement was settled before, or whose dead letter is gone, writes nothing:
        `Committed.duplicates` then names all its messages.
        """
        ...

    def settle(self, settlement: Settlement) -> None:
        """Settle a message whose handler sent nothing. Committed soon, with the writes around it, in order.

        Never raises. A settlement that is lost in a crash means that the message is handled again.
        """
        ...

    def settle_command(self, envelope: Envelope[Any]) -> None:
        """Settle a command whose handler ended well and sent nothing: `settle` for the most common case."""
        ...

    async def flush(self) -> None:
        """Return when everything handed in so far is committed.

        Raises:
            StoreUnavailableError: The store does not write any more; `failure` says why.
        """
        ...

    async def head(self) -> int:
        """Return the last global position; -1 for an empty log."""
        ...

    async def read(self, stream: str, *, after: int = -1, limit: int = 500) -> list[RecordedEvent]:
        """Read one stream in order, from the stream position after `after`."""
        ...

    async def newest(self, stream: str) -> RecordedEvent | None:
        """Read the last event of a stream; None when the stream is empty."""
        ...

    async def is_recorded(self, message_id: str) -> bool:
        """Tell whether an event with this message id is in the log."""
        ...

    async def read_all(
        self, *, after: int = -1, limit: int = 500, types: Collection[str] | None = None
    ) -> list[RecordedEvent]:
        """Read the log in order, from the global position after `after`; `types` are class names.

        Raises:
            CorruptionError: An event does not match its checksum; nothing from it on is served.
        """
        ...

    async def read_correlation(self, correlation_id: str) -> list[RecordedEvent]:
        """Read the events of one correlation, in order."""
        ...

    async def pending_commands(self, *, after: int = -1, limit: int = 500) -> list[PendingCommand]:
        """Read accepted commands that are not settled, in order of acceptance, after a sequence number."""
        ...

    async def begin_again(self, handler: str, envelope: Envelope[Any]) -> int:
        """Count, durably, that a message left over from an earlier process is tried again.

        Returns:
            How often this was counted for the message and handler, this time included.
        """
        ...

    async def uncount(self, begun: Sequence[tuple[str, Envelope[Any]]]) -> None:
        """Take back one count of `begin_again` for each handler and message: a stop has cut them off, and no crash.

        What is settled by now, or was not counted, is passed over.
        """
        ...

    async def arrived(self, message_id: str) -> int | None:
        """Return the digest of a command that came over a transport and was settled; None when none of that id was.

        0 when it is not known any more: so for one that became a dead letter.
        """
        ...

    async def checkpoint(self, handler: str, *, start: int) -> tuple[int, frozenset[int]]:
        """Return a handler's checkpoint and the finished positions above it; a new handler starts at `start`."""
        ...

    async def carry_on(self, group: str, names: Collection[str], *, start: int) -> dict[str, int]:
        """Have checkpoints of these names, and no others whose name begins with the group's; return them.

        Nothing is passed over: what is new begins at the lowest of those that were there, or else at `start`, and none
        stays above the lowest of those that fall away. One commit.
        """
        ...

    async def failure_of(self, correlation_id: str) -> tuple[str, str, str] | None:
        """Return (handler, message type, error text) of the first dead letter of a correlation, or None."""
        ...

    async def dead_letters(self, *, after: int = 0, limit: int = 500) -> list[DeadLetter]:
        """Read dead letters in the order of failing, after a sequence number."""
        ...

    async def dead_letter(self, sequence: int) -> DeadLetter | None:
        """Read one dead letter; None when there is none, or no more."""
        ...

    async def dead_message(self, letter: DeadLetter) -> Envelope[Message]:
        """Read the message of a dead letter, in the envelope it was sent in as far as that is still known.

        Raises:
            UnknownTypeError: No component declares its type any more.
            PayloadError: It does not fit its class as it is now.
        """
        ...

    async def keyed_letters(self) -> list[KeyedLetters]:
        """Sum up the dead letters that have a key, by handler and key."""
        ...

    async def first_letter(self, handler: str, key: str) -> DeadLetter | None:
        """Read the first dead letter of a handler's key."""
        ...

    async def drop_dead_letter(self, sequence: int) -> bool:
        """Remove a dead letter, after the writes handed in so far; tell whether there was one.

        Raises:
            StoreUnavailableError: The store does not write any more; `failure` says why.
        """
        ...

    async def schedules(self, *, after: Turn = FIRST, limit: int = 500, failed: bool = False) -> list[Schedule]:
        """Read schedules in the order in which they are due, after the `turn` of one; `failed`: those with an error."""
        ...

    async def schedule(self, message_id: str) -> Schedule | None:
        """Read one schedule; None when there is none, or no more."""
        ...

    async def due_schedules(self, wall: float, steady: float, *, limit: int = 500) -> list[Schedule]:
        """Read what is due and was not tried in vain, in order.

        Args:
            wall: The time it is, for those that name a moment.
            steady: The same by a clock that no jump of the wall clock moves, for those asked for as so much time.
            limit: How many at most.
        """
        ...

    async def next_due(self) -> tuple[float, float]:
        """Return when the first that was not tried in vain is due, by either clock; infinity for never."""
        ...

    async def cancel_schedule(self, message_id: str) -> bool:
        """Remove a schedule, after the writes handed in so far; tell whether there was one.

        Raises:
            StoreUnavailableError: The store does not write any more; `failure` says why.
        """
        ...

    async def fail_schedule(self, message_id: str, error: str) -> None:
        """Note why a schedule could not be sent when it was due; it is due no more, and stays."""
        ...

    @property
    def rows(self) -> RowReader:
        """Reads the live read models. Each call sees the newest commit."""
        ...

    async def look(self, read: Callable[..., T], /, *arguments: Any) -> T:
        """Return what a function returns that reads `rows`; whoever runs on the loop reads so, for it may take a while."""
        ...

    def reached(self, name: str) -> Reached:
        """Return how far a projection has come, as of the newest commit; costs next to nothing.

        Raises:
            UnknownProjectionError: The store was opened without it.
        """
        ...

    def watch(self, grown: Callable[[], None]) -> None:
        """Have a function called, on the loop, soon after each commit that appended events; until the store is closed."""
        ...

    async def advance(self, name: str, limit: int = 500) -> Reached:
        """Fold the next events into a projection that is not inline, in transactions of their own, writes in between.

        Nothing happens at the end of the log, and to one that has stopped.

        Raises:
            UnknownProjectionError: The store was opened without it.
            CorruptionError: The log is damaged where it goes on.
        """
        ...

    async def note_reached(self, name: str, checkpoint: int, error: str | None = None) -> None:
        """Note how far a projection has come that keeps its rows elsewhere.

        Raises:
            UnknownProjectionError: The store was opened without it.
        """
        ...

    async def projection_states(self) -> list[ProjectionState]:
        """Return where every projection stands."""
        ...

    async def rebuild(self, name: str, progress: Callable[[int, int], None]) -> Rebuilt:
        """Build a projection anew beside the live one and switch at once.

        `progress` gets events read and events in all. Cancelled or killed at any point, the old rows keep serving.

        Raises:
            HandlerFailedError: The projection raised; the old rows keep serving.
        """
        ...

    async def erase(self, subjects: Collection[str]) -> list[str]:
        """Destroy the keys of subjects, and take what they covered out of everything but the log.

        From then on the personal fields of these subjects read as erased; what the log holds stays as it is. Projections
        that take events with such fields are built anew; one that raises then stops there, with what it had up to
        that event. An erasure that is interrupted is finished by the next `open`, and counts as unfinished until
        `types.keys.finish()`: what lies outside the store is the caller's to clean up. Without subjects: cleans up only.

        Returns:
            The names of the projections that were built anew.
        """
        ...

    async def restore(self, copies: Iterable[EventCopy]) -> int:
        """Append copies of events as they were recorded elsewhere, all or none; return how many.

        For a store that no handlers work on and where none is behind. Positions go on from the head; inline projections
        are brought up to date; every handler is at the new head afterwards, so that none takes history for news.
        `copies` is read on any thread; when it raises, nothing is written.

        Raises:
            RestoreError: One does not continue its stream, or has an id that was there.
        """
        ...

    async def verify(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Walk the whole log and check every checksum; return the number of events.

        Raises:
            CorruptionError: Names the first damaged position.
        """
        ...
