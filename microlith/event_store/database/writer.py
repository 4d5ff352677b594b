"""The writer: one thread, one connection, many callers' writes in one commit.

The thread commits what was handed over together, and tells all callers with one call into their loop, in the order of
the commit. A commit whose outcome stays unknown ends all writing: it is never tried again. After a failure that was
definite, such as a full disk, writing goes on.

Reads nothing for others; see `reading`.
"""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import repeat
from typing import Any, Generic, Literal, TypeVar

from microlith.errors import StoreError, StoreUnavailableError, UnknownOutcomeError
from microlith.event_store.database.batch import Batch, LookUpIdsError, Recording, Write
from microlith.event_store.database.handover import HandOver
from microlith.event_store.database.overwriting import start_over, touched
from microlith.event_store.database.projecting import ProjectionRaisedError, Projections, Stopped
from microlith.event_store.database.reading import LogReader
from microlith.event_store.database.restoring import Restoring
from microlith.event_store.database.session import Session, ValueRefused, WriteFailed
from microlith.event_store.database.state import LogState
from microlith.event_store.event_copy import EventCopy
from microlith.event_store.protocol import Committed, Projecting
from microlith.serialization import MessageTypes

T = TypeVar("T")
Durability = Literal["durable", "fast"]
Writable = Recording | Write
Outcome = Committed | StoreError

WAITING_LIMIT = 100_000
_MOST_WRITES = 1000
_MOST_BYTES = 8 * 1024 * 1024
_AGAIN_SECONDS = 0.2
"""How soon a database that is away is asked again when a handler waits for it."""


class Job(Generic[T]):
    """Something to do on the writer's thread, in its turn."""

    __slots__ = ("future", "work")

    def __init__(self, work: Callable[[], T]) -> None:
        self.work = work
        self.future: Future[T] = Future()


class Writer(ABC):
    """The thread that writes. The attributes belong to the thread; others may look, once it has started.

    Attributes:
        failure: Why it stopped writing for good.
        session: Its connection.
        state: What it knows of the log.
        projections: The projections.
        commits: How many commits of writes were begun.
        watching: What is called on the loop after commits that appended events.
    """

    session: Session
    state: LogState
    projections: Projections

    def __init__(self, types: MessageTypes, durability: Durability) -> None:
        self.failure: StoreError | None = None
        self.watching: list[Callable[[], None]] = []
        self.commits = 0
        self._types = types
        self._durability = durability
        self._loop = asyncio.get_running_loop()
        self._items: HandOver[Writable | Job[Any]] = HandOver(self._loop)
        self._thread: threading.Thread | None = None
        self._giving_up = False
        self._stopping = False
        self._closed = False
        self._ended = False
        self._unwritten: list[Write] = []

    @property
    def waiting(self) -> int:
        """How many writes wait for their turn."""
        return self._items.waiting

    async def start(self, projections: Sequence[Projecting]) -> None:
        """Start the thread; return when the log is open and the projections are up to date."""
        opened: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(opened, projections), name="microlith-event-store", daemon=True
        )
        self._thread.start()
        try:
            await asyncio.wrap_future(opened)
        except BaseException:
            self._giving_up = True
            await self.stop()
            raise

    async def stop(self) -> None:
        """Finish what waits, close the connection and end the thread."""
        if self._thread is None:
            return
        if not self._closed:
            stopped = asyncio.wrap_future(self.submit(self._stop))
            self._closed = True
            await asyncio.wait([stopped])
            if not stopped.cancelled():
                # A settlement that cannot be written now is handled again after the next start: that is its promise.
                stopped.exception()
        self._thread.join()

    def record(self, recording: Recording) -> None:
        """Queue one message to be recorded."""
        if self._closed or self.failure is not None:
            self._tell([recording], self._refusal())
        else:
            self._items.put(recording)

    def put(self, write: Write) -> None:
        """Queue a unit, or a settlement that nobody waits for."""
        if self._closed or self.failure is not None:
            self._tell([write], self._refusal())
        elif write.done is None:
            self._items.put_patiently(write)
        else:
            self._items.put(write)

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """Queue something to do on the thread, after the writes before it."""
        job = Job(work)
        if self._closed:
            job.future.set_exception(self._refusal())
            return job.future
        self._items.put_at_once(job)
        if self._ended:  # the thread ended just now, and will not look again
            self._refuse_all()
        return job.future

    async def do(self, work: Callable[[], T]) -> T:
        """Do something on the thread and return what it returns."""
        return await asyncio.wrap_future(self.submit(work))

    # From here on, on the thread.

    def restore(self, copies: Iterable[EventCopy]) -> int:
        """Append copies of events, all or none, and bring the projections up to them, inside a job; return how many.

        Raises:
            RestoreError: One does not continue the log; nothing was written.
        """
        self.settle_left_over()
        restoring = Restoring(self.session, self.state, self._types)
        try:
            restoring.run(copies)
        except WriteFailed as failed:
            self._note(failed)
            raise failed.error from failed
        self._noted()
        reader = LogReader(self.session, self.state.numbered, self._types, lambda: self.state.head)
        try:
            self.projections.catch_up(reader, lambda: False)
        except WriteFailed as failed:  # nothing may be folded after a gap; the next opening catches up
            self.failure = failed.error
            raise failed.error from failed
        return restoring.count

    def learn_pending(self) -> None:
        """Learn which commands are not settled, those of others among them, inside a job."""
        self.transact(self.state.learn_pending)

    def transact(self, work: Callable[[], T]) -> T:
        """Run something as one transaction, inside a job."""
        return self.tell_failure(lambda: self.session.transact(work))

    def tell_failure(self, work: Callable[[], T]) -> T:
        """Run something that does transactions of its own, inside a job; what fails is told in words for outside."""
        self.settle_left_over()
        try:
            return work()
        except WriteFailed as failed:
            self._note(failed)
            raise failed.error from failed

    def lightly(self, work: Callable[[], None]) -> None:
        """Do transactions that a power cut may take, as long as it takes them in order, inside a job."""
        self.session.press("fast")
        try:
            self.tell_failure(work)
        finally:
            self.session.press(self._durability)

    def settle_left_over(self) -> None:
        """Write what could not be written before and is kept: settlements, and what handlers want written.

        Raises:
            StoreError: It still cannot.
        """
        if self.failure is not None:
            raise self._refusal()
        if self._unwritten:
            try:
                self._write(self._unwritten)
            except WriteFailed as failed:
                raise failed.error from failed

    @abstractmethod
    def sweep(self) -> None:
        """Drop snapshots and what nobody declares any more, and leave no deleted byte where the database can help it.

        Raises:
            StoreUnavailableError: Something else uses the database, so that this has to wait.
        """
        ...

    @abstractmethod
    def _open(self, projections: Sequence[Projecting]) -> None:
        """Open the database: session, state, keys and projections."""
        ...

    @abstractmethod
    def _leave(self) -> None:
        """Close what was opened, as far as that went."""
        ...

    @abstractmethod
    def _meaning(self, error: Exception) -> Exception:
        """Say what an error means that came while opening."""
        ...

    @abstractmethod
    def _noted(self) -> None:
        """Do what has to be done after a commit."""
        ...

    def _run(self, opened: "Future[None]", projections: Sequence[Projecting]) -> None:
        try:
            try:
                self._open(projections)
            except Exception as error:  # noqa: BLE001 (handed to whoever waits for the opening)
                self._stopping = True
                opened.set_exception(error.error if isinstance(error, WriteFailed) else self._meaning(error))
            else:
                if opened.set_running_or_notify_cancel():
                    opened.set_result(None)
            while not self._stopping:
                self._work_off(self._items.take(_AGAIN_SECONDS if self._is_holding else None))
        except BaseException as error:
            self.failure = self.failure or UnknownOutcomeError(f"{type(error).__name__}: {error}")
            raise
        finally:
            self._refuse_all()
            with suppress(RuntimeError):  # the loop was closed under the store: there is nobody left to tell
                self._loop.call_soon_threadsafe(self._refuse_gathered)
            self._leave()

    def _project(self, projections: Sequence[Projecting], *, unfinished: bool) -> None:
        """Bring projections up to the log; first finish an erasure that was interrupted."""
        self.projections = Projections(self.session, projections)
        self.session.transact(self.projections.prepare)
        head = self.state.head
        reader = LogReader(self.session, self.state.numbered, self._types, lambda: head)
        if unfinished:  # all of it again, wherever it was interrupted, before anybody reads
            names = touched(self.projections, reader, self.session)
            start_over(self.session, self.projections, names, reader, self._is_giving_up)
            if not self._giving_up:
                self.sweep()
        self.projections.catch_up(reader, self._is_giving_up)

    def _is_giving_up(self) -> bool:
        return self._giving_up

    def _work_off(self, items: Sequence[Writable | Job[Any]]) -> None:
        """Commit writes together, up to a limit; do jobs in between."""
        writes: list[Writable] = []
        size = 0
        for item in items:
            if isinstance(item, Job):
                self._commit(writes)
                writes, size = [], 0
                self._do(item)
                self._items.note_taken(1)
                continue
            writes.append(item)
            size += len(item[0][2]) if isinstance(item, tuple) else sum([len(message[2]) for message in item.messages])
            if len(writes) >= _MOST_WRITES or size > _MOST_BYTES:
                self._commit(writes)
                writes, size = [], 0
        self._commit(writes)

    def _do(self, job: Job[Any]) -> None:
        if not job.future.set_running_or_notify_cancel():
            return
        try:
            job.future.set_result(job.work())
        except StopIteration as error:  # which no future takes
            job.future.set_exception(RuntimeError(f"StopIteration: {error}"))
        except Exception as error:  # noqa: BLE001 (handed to whoever waits for the job)
            job.future.set_exception(error)

    def _commit(self, fresh: list[Writable]) -> None:
        """Write many in one transaction, and tell everybody."""
        if not fresh and not self._is_holding:
            return
        self._items.note_taken(len(fresh))
        self.commits += 1
        if self.failure is not None:
            self._tell(fresh, self._refusal())
            return
        with suppress(WriteFailed):  # all that are not kept were told
            self._write([*self._unwritten, *fresh])

    def _write(self, writes: Sequence[Writable]) -> None:
        """Write many in one transaction, and tell everybody but those whose writes are kept.

        Raises:
            WriteFailed: It was not written, or perhaps was.
        """
        head = self.state.head
        try:
            outcomes = self._transact_writes(writes)
        except WriteFailed as failed:
            self._note(failed)
            self._tell(self._keep_unwritten(writes, away=failed.away), failed.error)
            raise
        except BaseException as error:  # whatever it is, nobody may be left waiting
            self.failure = UnknownOutcomeError(f"{type(error).__name__}: {error}")
            self._tell(writes, self.failure)
            self._unwritten = []
            raise
        self._unwritten = []
        self._tell(writes, outcomes)
        if self.watching and self.state.head > head:
            self._tell_watching()

    def _tell_watching(self) -> None:
        with suppress(RuntimeError):  # the loop was closed under the store: there is nobody left to tell
            for grown in self.watching:
                self._loop.call_soon_threadsafe(grown)

    def _transact_writes(self, writes: Sequence[Writable]) -> list[Outcome]:
        try:
            return self._try_writes(writes, None)
        except (ValueRefused, LookUpIdsError, ProjectionRaisedError):
            messages = [one for item in writes for one in (item[:1] if isinstance(item, tuple) else item.messages)]
            return self._try_writes(writes, [message[0].message_id for message in messages])

    def _try_writes(self, writes: Sequence[Writable], suspects: Sequence[str] | None) -> list[Outcome]:
        def work() -> tuple[Batch, list[Outcome], Stopped]:
            batch = Batch(self.session, self.state, self._types, suspects=suspects)
            batch.look_up()
            if self.session.is_far:
                self.state.learn_heads(_streams_of(writes))
            record, add = batch.record, batch.add
            outcomes = [record(item[0]) if isinstance(item, tuple) else add(item) for item in writes]
            batch.write()
            if not batch.events:
                return batch, outcomes, {}
            return batch, outcomes, self.projections.apply(batch.events, carefully=suspects is not None)

        batch, outcomes, stopped = self.session.transact(work)
        batch.adopt()
        self._noted()
        if batch.events:
            self.projections.adopt(self.state.head, stopped)
        return outcomes

    @property
    def _is_holding(self) -> bool:
        """Whether somebody waits for a write that is kept."""
        return any(write.done is not None for write in self._unwritten)

    def _keep_unwritten(self, writes: Sequence[Writable], *, away: bool) -> Sequence[Writable]:
        """Keep what a batch that certainly failed must not lose, to be written with the next; return the others.

        Those are the settlements; and, when the database is away, what handlers want written: they have done their work.
        """
        self._unwritten = []
        if self.failure is not None:
            return writes
        told: list[Writable] = []
        for item in writes:
            if isinstance(item, Write) and (item.done is None or (away and item.settlement is not None)):
                self._unwritten.append(item)
            else:
                told.append(item)
        if len(self._unwritten) > WAITING_LIMIT:
            self.failure = StoreUnavailableError(f"{len(self._unwritten)} settlements could not be written")
        return told

    def _note(self, failed: WriteFailed) -> None:
        if not failed.usable:
            self.failure = failed.error

    def _stop(self) -> None:
        self._stopping = True
        if self.failure is None:
            self.settle_left_over()

    def _refuse_all(self) -> None:
        """Leave nobody waiting."""
        self._closed = self._ended = True
        self._tell(self._unwritten, self._refusal())
        self._unwritten = []
        for item in self._items.take_left_over():
            if not isinstance(item, Job):
                self._tell([item], self._refusal())
            elif item.future.set_running_or_notify_cancel():
                item.future.set_exception(self._refusal())

    def _refuse_gathered(self) -> None:
        """Refuse what had not been handed over when the thread ended. On the loop."""
        self._items.hand_over()
        self._refuse_all()

    def _refusal(self) -> StoreError:
        """Build the error for a write that comes too late: it certainly did not happen."""
        if self.failure is None:
            return StoreUnavailableError("it is closed", hint="Send while the application runs.")
        return StoreUnavailableError(
            f"it stopped writing after an error: {self.failure}",
            hint="Restart; the store is checked when it is opened.",
        )

    def _tell(self, writes: Sequence[Writable], outcomes: Sequence[Outcome] | StoreError) -> None:
        """Tell everybody what became of their writes, with one call into the loop."""
        try:
            self._loop.call_soon_threadsafe(_deliver, self._loop, writes, outcomes)
        except RuntimeError:  # the loop was closed under the store: there is nobody left to tell
            self._stopping = True


def _deliver(
    loop: asyncio.AbstractEventLoop, writes: Sequence[Writable], outcomes: Sequence[Outcome] | StoreError
) -> None:
    for item, outcome in zip(writes, repeat(outcomes) if isinstance(outcomes, StoreError) else outcomes, strict=False):
        done = item[1] if isinstance(item, tuple) else item.done
        if done is not None:
            try:
                if isinstance(outcome, Committed):
                    done(outcome, None)
                else:
                    done(None, outcome)
            except Exception as raised:  # noqa: BLE001 (one caller's fault must not keep the others from being told)
                loop.call_exception_handler({"message": "a caller of the event store failed", "exception": raised})


def _streams_of(writes: Sequence[Writable]) -> set[str]:
    """Name the streams that writes append to."""
    messages = (one for item in writes for one in (item[:1] if isinstance(item, tuple) else item.messages))
    return {stream for _, _, _, _, stream, _ in messages if stream is not None}
