"""The writer: one thread, one connection, many callers' writes in one commit.

Callers put writes in a queue and go on. The thread takes what has gathered, commits it at once, and tells all callers
with one call into their loop, in the order of the commit. Settlements that nobody waits for are left to gather for a
few milliseconds. A failed commit ends all writing: what became of it is unknown, and it is never tried again.

Reads nothing for others; see `reading`.
"""

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Generic, Literal, TypeVar

from microlith.errors import CorruptionError, StoreError, StoreUnavailableError, UnknownOutcomeError
from microlith.event_store.protocol import Committed, Done, Projecting
from microlith.event_store.sqlite.batch import Batch, LookUpIdsError, Write
from microlith.event_store.sqlite.connection import connect_writer, judge
from microlith.event_store.sqlite.opening import open_log
from microlith.event_store.sqlite.projecting import ProjectionRaisedError, Projections
from microlith.event_store.sqlite.reading import LogReader
from microlith.event_store.sqlite.session import Session, WriteFailed
from microlith.event_store.sqlite.state import LogState
from microlith.serialization import MessageTypes

T = TypeVar("T")
Durability = Literal["durable", "fast"]
Told = tuple[Done, Committed | None, StoreError | None]

WAITING_LIMIT = 100_000
LINGER_SECONDS = 0.004
_MOST_WRITES = 1000
_MOST_BYTES = 8 * 1024 * 1024


class Job(Generic[T]):
    """Something to do on the writer's thread, in its turn."""

    __slots__ = ("future", "work")

    def __init__(self, work: Callable[[], T]) -> None:
        self.work = work
        self.future: Future[T] = Future()


class Writer:
    """The thread that writes. After `start`, the attributes are set; they belong to the thread, others may look.

    Attributes:
        failure: Why it stopped writing for good.
        session: Its connection.
        state: What it knows of the log.
        projections: The projections.
    """

    session: Session
    state: LogState
    projections: Projections

    def __init__(self, path: Path, types: MessageTypes, durability: Durability) -> None:
        self.failure: StoreError | None = None
        self._path = path
        self._types = types
        self._durability = durability
        self._loop = asyncio.get_running_loop()
        self._items: deque[Write | Job[Any]] = deque()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._idle = False
        self._lingering = False
        self._opened = False
        self._giving_up = False
        self._stopping = False
        self._closed = False
        self._ended = False
        self._unwritten: list[Write] = []
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """How many writes wait for their turn."""
        return len(self._items)

    async def start(self, projections: Sequence[Projecting]) -> None:
        """Start the thread; return when the log is open and the projections are up to date."""
        opened: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(opened, projections), name="microlith-event-store", daemon=True
        )
        self._thread.start()
        try:
            await asyncio.wrap_future(opened)
            self._opened = True
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Finish what waits, close the connection and end the thread."""
        if self._closed or self._thread is None:
            return
        self._giving_up = not self._opened
        stopped = asyncio.wrap_future(self.submit(self._stop))
        self._closed = True
        await asyncio.wait([stopped])
        # A settlement that cannot be written now is handled again after the next start; that is its promise.
        stopped.cancelled() or stopped.exception()
        self._thread.join()

    def put(self, write: Write) -> None:
        """Queue a write. From any thread."""
        if self._closed or self.failure is not None:
            self._refuse(write)
            return
        self._items.append(write)
        if self._idle or (self._lingering and write.done is not None):
            self._rouse()
        if self._ended:  # the thread ended between the first look and now
            self._refuse_all()

    def _rouse(self) -> None:
        self._idle = self._lingering = False  # one token is enough; a spare one only makes the thread look again
        self._wake.put(None)

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """Queue something to do on the thread, after the writes before it."""
        job = Job(work)
        if self._closed:
            job.future.set_exception(self._closed_error())
            return job.future
        self._items.append(job)
        if self._idle or self._lingering:
            self._rouse()
        if self._ended:
            self._refuse_all()
        return job.future

    async def do(self, work: Callable[[], T]) -> T:
        """Do something on the thread and return what it returns."""
        return await asyncio.wrap_future(self.submit(work))

    def transact(self, work: Callable[[], T]) -> T:
        """Run something as one transaction; on the writer's thread, inside a job."""
        if self.failure is not None:
            raise self._refusal()
        self._settle_left_over()
        try:
            return self.session.transact(work)
        except WriteFailed as failed:
            self._note(failed)
            raise failed.error from failed

    def drained(self) -> None:
        """Do nothing but fail when something before it could not be written; on the thread, inside a job."""
        if self.failure is not None:
            raise self._refusal()
        self._settle_left_over()

    # On the thread, from here on.

    def _run(self, opened: "Future[None]", projections: Sequence[Projecting]) -> None:
        try:
            connection = connect_writer(self._path, self._durability)
        except Exception as error:  # noqa: BLE001 (handed to whoever waits for the opening)
            opened.set_exception(self._meaning(error))
            self._refuse_all()
            return
        try:
            self._open(connection, opened, projections)
            while not self._stopping:
                self._work_off(self._take())
        except Exception as error:
            self.failure = self.failure or StoreUnavailableError(f"{type(error).__name__}: {error}")
            raise
        finally:
            self._refuse_all()
            connection.close()

    def _open(self, connection: sqlite3.Connection, opened: "Future[None]", projections: Sequence[Projecting]) -> None:
        try:
            self.session = Session(connection, self._path)
            self.state = open_log(self.session, self._path, self._types)
            self.projections = Projections(self.session, projections)
            self.session.transact(self.projections.prepare)
            head = self.state.head
            reader = LogReader(self.session.run, self.state.numbered, self._types, lambda: head)
            self.projections.catch_up(reader, lambda: self._giving_up)
        except Exception as error:  # noqa: BLE001 (handed to whoever waits for the opening)
            self._stopping = True
            opened.set_exception(self._meaning(error))
        else:
            opened.set_result(None)

    def _meaning(self, error: Exception) -> Exception:
        if isinstance(error, WriteFailed):
            return error.error
        if isinstance(error, sqlite3.Error):
            return judge(error, "begin", self._path)[0]
        return error

    def _take(self) -> list[Write | Job[Any]]:
        """Wait for something to do, then take all there is, up to a limit."""
        while not self._items:
            self._idle = True
            if not self._items:  # looked at again: it may have come before `_idle` was seen
                self._wake.get()
            self._idle = False
        taken = self._pop()
        if all(type(item) is Write and item.done is None for item in taken):
            self._lingering = True
            try:
                self._wake.get(timeout=LINGER_SECONDS)
            except Empty:
                pass
            finally:
                self._lingering = False
            taken += self._pop()
        return taken

    def _pop(self) -> list[Write | Job[Any]]:
        items, taken, size = self._items, [], 0
        for _ in range(min(len(items), _MOST_WRITES)):
            item = items.popleft()
            taken.append(item)
            if type(item) is Write:
                size += item.size
                if size > _MOST_BYTES:
                    break
        return taken

    def _work_off(self, items: Sequence[Write | Job[Any]]) -> None:
        writes: list[Write] = []
        for item in items:
            if isinstance(item, Write):
                writes.append(item)
                continue
            self._commit(writes)
            writes = []
            self._do(item)
        self._commit(writes)

    def _do(self, job: Job[Any]) -> None:
        if not job.future.set_running_or_notify_cancel():
            return
        try:
            job.future.set_result(job.work())
        except Exception as error:  # noqa: BLE001 (handed to whoever waits for the job)
            job.future.set_exception(error)

    def _commit(self, writes: list[Write]) -> None:
        """Write many in one transaction, and tell everybody."""
        if not writes:
            return
        if self.failure is not None:
            for write in writes:
                self._refuse(write)
            return
        writes = self._unwritten + writes
        self._unwritten = []
        try:
            outcomes = self._transact_writes(writes)
        except WriteFailed as failed:
            self._note(failed)
            self._tell([(write.done, None, failed.error) for write in writes if write.done is not None])
            self._keep_unwritten(writes)
            return
        except Exception as error:
            self.failure = UnknownOutcomeError(f"{type(error).__name__}: {error}")
            self._tell([(write.done, None, self.failure) for write in writes if write.done is not None])
            raise
        self._tell(
            [
                (write.done, None, outcome) if isinstance(outcome, StoreError) else (write.done, outcome, None)
                for write, outcome in zip(writes, outcomes, strict=True)
                if write.done is not None
            ]
        )

    def _transact_writes(self, writes: Sequence[Write]) -> list[Committed | StoreError]:
        try:
            return self._try_writes(writes, carefully=False)
        except (sqlite3.IntegrityError, LookUpIdsError, ProjectionRaisedError):
            return self._try_writes(writes, carefully=True)

    def _try_writes(self, writes: Sequence[Write], *, carefully: bool) -> list[Committed | StoreError]:
        def work() -> tuple[Batch, list[Committed | StoreError], dict[str, tuple[int, str]]]:
            batch = Batch(self.session, self.state, self._types, writes, look_up=carefully)
            outcomes = [batch.add(write) for write in writes]
            batch.write()
            stopped = self.projections.apply(batch.events, carefully=carefully) if batch.events else {}
            return batch, outcomes, stopped

        batch, outcomes, stopped = self.session.transact(work)
        batch.adopt()
        self.projections.adopt(self.state.head, stopped)
        return outcomes

    def _keep_unwritten(self, writes: Sequence[Write]) -> None:
        """Keep the settlements of a batch that certainly failed, to be written with the next."""
        if self.failure is None:
            self._unwritten = [write for write in writes if write.done is None]
            if len(self._unwritten) > WAITING_LIMIT:
                self.failure = StoreUnavailableError(f"{len(self._unwritten)} settlements could not be written")

    def _settle_left_over(self) -> None:
        if self._unwritten:
            writes, self._unwritten = self._unwritten, []
            try:
                self._transact_writes(writes)
            except WriteFailed as failed:
                self._note(failed)
                self._keep_unwritten(writes)
                raise failed.error from failed

    def _note(self, failed: WriteFailed) -> None:
        if not failed.usable:
            self.failure = failed.error

    def _stop(self) -> None:
        self._stopping = True
        if self.failure is None:
            self._settle_left_over()

    def _refuse_all(self) -> None:
        """Leave nobody waiting."""
        self._closed = self._ended = True
        while True:
            try:
                item = self._items.popleft()
            except IndexError:
                return
            if isinstance(item, Write):
                self._refuse(item)
            elif item.future.set_running_or_notify_cancel():
                item.future.set_exception(self._closed_error())

    def _refuse(self, write: Write) -> None:
        if write.done is not None:
            self._tell([(write.done, None, self._closed_error() if self.failure is None else self._refusal())])

    def _refusal(self) -> StoreError:
        """Build the error for a write that comes after the one that failed: it certainly did not happen."""
        if isinstance(self.failure, UnknownOutcomeError | CorruptionError | StoreUnavailableError):
            return StoreUnavailableError(
                f"it stopped writing after an error: {self.failure}",
                hint="Restart; the store is checked when it is opened.",
            )
        return StoreUnavailableError("it stopped writing")

    @staticmethod
    def _closed_error() -> StoreError:
        return StoreUnavailableError("it is closed", hint="Send while the application runs.")

    def _tell(self, told: list[Told]) -> None:
        if told:
            try:
                self._loop.call_soon_threadsafe(_deliver, self._loop, told)
            except RuntimeError:
                # The loop was closed under the store: there is nobody left to tell.
                self._stopping = True


def _deliver(loop: asyncio.AbstractEventLoop, told: Sequence[Told]) -> None:
    for done, committed, error in told:
        try:
            done(committed, error)
        except Exception as raised:  # noqa: BLE001 (one caller's fault must not keep the others from being told)
            loop.call_exception_handler({"message": "a caller of the event store failed", "exception": raised})
