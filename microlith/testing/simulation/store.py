"""The event store of a simulation: a store in memory, behind a writer that takes its time and may fail.

What is written here is on the "disk" from its commit on, and its sender hears of it a little later, as with a store
on a real disk. Many writes share one commit; commits, and the word of them, keep the order.

Keeps nothing itself: the disk outlives it, and the next life of the application has a store of its own on it.
"""

import asyncio
import inspect
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from random import Random
from typing import Any, Literal

from microlith.envelope import Envelope
from microlith.errors import StoreError, StoreUnavailableError, UnknownOutcomeError
from microlith.event_store.memory import MemoryEventStore
from microlith.event_store.protocol import Acceptance, Committed, Done, Settlement, Unit
from microlith.testing.simulation.faults import Faults
from microlith.testing.simulation.history import History
from microlith.testing.simulation.loop import VirtualLoop

Outcome = tuple[Committed | None, BaseException | None]


class _Write:
    """One write on its way to the disk."""

    __slots__ = ("apply", "done", "envelopes", "settlement")

    def __init__(
        self,
        apply: Callable[[], Outcome],
        done: Done | None,
        envelopes: list[Envelope[Any]],
        settlement: Settlement | None = None,
    ) -> None:
        self.apply = apply
        self.done = done
        self.envelopes = envelopes
        self.settlement = settlement


class SimulatedEventStore:
    """The event store of one life of an application.

    Attributes:
        failure: Why it stopped writing for good.
    """

    durability: Literal["durable"] = "durable"
    engine = "simulated"

    def __init__(
        self,
        disk: MemoryEventStore,
        loop: VirtualLoop,
        random: Random,
        faults: Faults,
        history: History,
        strikes: Callable[[str], bool],
        send_again: Callable[[Envelope[Any]], None],
    ) -> None:
        """Stand before a disk.

        Args:
            disk: What outlives this store.
            loop: The simulation's.
            random: Chance.
            faults: What may go wrong.
            history: Where it is noted.
            strikes: Asked at the named moments whether the process dies there, or the disk fails; it then sees to it.
            send_again: Sends an envelope once more, as an impatient sender does.
        """
        self.disk = disk
        self.failure: StoreError | None = None
        self._loop = loop
        self._random = random
        self._faults = faults
        self._history = history
        self._strikes = strikes
        self._send_again = send_again
        self._waiting: deque[_Write] = deque()
        self._untold: deque[tuple[list[_Write], list[Outcome]]] = deque()
        self._armed = False
        self._tell_at = 0.0
        self._dead = False

    async def open(self, projections: Any = ()) -> None:
        """Begin a life on the disk."""
        await self.disk.open(projections)

    async def close(self) -> None:
        """Commit what is waiting, tell, and write no more."""
        while not self._dead and self.failure is None and (self._waiting or self._untold):  # noqa: ASYNC110
            await asyncio.sleep(self._pause())
        self._dead = True

    def record(self, envelope: Envelope[Any], done: Done) -> Acceptance:
        """Record one command or event; `done` is called after the commit."""
        self.put(_Write(lambda: self._record(envelope), done, [envelope]))
        if envelope.causation_id is None and self._hits(self._faults.duplicate):
            self._loop.call_later(self._random.random() * 0.05, self._send_again, envelope, context=Context())
        return Acceptance.UNDER_WAY

    def complete(self, unit: Unit, done: Done) -> None:
        """Write a unit, all or none; `done` is called after the commit."""
        self.put(_Write(lambda: self._complete(unit), done, list(unit.envelopes), unit.settlement))

    def settle(self, settlement: Settlement) -> None:
        """Settle a message whose handler sent nothing."""
        self.put(_Write(lambda: self._settle(settlement), None, [], settlement))

    def settle_command(self, envelope: Envelope[Any]) -> None:
        """Settle a command whose handler ended well and sent nothing."""
        self.settle(Settlement("", envelope))

    async def begin_again(self, handler: str, envelope: Envelope[Any]) -> int:
        """Count that a message is tried again."""
        return int(await self._through_writer(lambda: self.disk.begin_again(handler, envelope)))

    async def uncount(self, begun: Sequence[tuple[str, Envelope[Any]]]) -> None:
        """Take back counts of messages that a stop has cut off."""
        await self._through_writer(lambda: self.disk.uncount(begun))

    async def drop_dead_letter(self, sequence: int) -> bool:
        """Remove a dead letter."""
        letter = await self.disk.dead_letter(sequence)
        if letter is not None:
            self._history.letters_gone.add((letter.handler, letter.message_id))
        return bool(await self._through_writer(lambda: self.disk.drop_dead_letter(sequence)))

    async def flush(self) -> None:
        """Return when everything handed in so far is committed and told."""
        await self._through_writer(self.disk.flush)

    def heal(self) -> None:
        """Let nothing go wrong from now on."""
        self._faults = Faults(delay=self._faults.delay)

    def power_off(self) -> None:
        """Write nothing from now on."""
        self._dead = True

    def refuse_all(self) -> None:
        """Tell everybody whose write nobody will be told of any more. After `power_off`."""
        error = UnknownOutcomeError("the process died")
        left = [write for batch, _ in self._untold for write in batch] + list(self._waiting)
        self._untold.clear()
        self._waiting.clear()
        for write in left:
            self._say(write, (None, error))

    def put(self, write: _Write) -> None:
        """Take a write."""
        if self._dead or self.failure is not None:
            if write.done is not None:
                write.done(None, StoreUnavailableError("it does not write any more"))
            return
        self._waiting.append(write)
        self._arm()

    def _arm(self) -> None:
        if not self._armed and self._waiting:
            self._armed = True
            self._loop.call_later(self._pause(), self._commit, context=Context())

    def _commit(self) -> None:
        self._armed = False
        if self._dead or self.failure is not None or self._strikes("before a commit"):
            return
        batch = list(self._waiting)
        self._waiting.clear()
        if self._hits(self._faults.refuse):
            self._refuse(batch)
        elif self._hits(self._faults.unknown) and self._strikes("a commit fails"):
            self._fail(batch)
        else:
            outcomes = [self._applied(write) for write in batch]
            self._untold.append((batch, outcomes))
            if self._strikes("after a commit"):
                return
            self._tell_at = max(self._tell_at + 1e-8, self._loop.now + self._pause())
            self._loop.call_at(self._tell_at, self._tell, context=Context())
        self._arm()

    def _refuse(self, batch: list[_Write]) -> None:
        """Write nothing of it; settlements that nobody waits for are written with the next."""
        self._history.note("commit refused")
        self._history.refused = True
        self._waiting.extendleft(reversed([write for write in batch if write.done is None]))
        for write in batch:
            self._say(write, (None, StoreUnavailableError("no room, in this simulation")))

    def _fail(self, batch: list[_Write]) -> None:
        written = self._random.random() < 0.5
        self._history.note(f"commit failed half-way, {'' if written else 'not '}written")
        self._history.refused = True
        if written:
            for write in batch:
                self._applied(write)
        self.failure = UnknownOutcomeError("an error of the disk, in this simulation")
        left, self._waiting = [*batch, *self._waiting], deque()
        for write in left:
            self._say(write, (None, self.failure))

    def _tell(self) -> None:
        if self._dead or not self._untold:
            return
        batch, outcomes = self._untold.popleft()
        for write, outcome in zip(batch, outcomes, strict=True):
            for envelope in write.envelopes:
                if outcome[0] is not None and envelope.message_id in self._history.committed:
                    self._history.told.setdefault(envelope.message_id, self._loop.now)
            self._say(write, outcome)
        self._strikes("after telling of a commit")

    def _say(self, write: _Write, outcome: Outcome) -> None:
        if write.done is not None:
            try:
                write.done(*outcome)
            except Exception as error:  # noqa: BLE001 (the store must outlive its callers; the history tells)
                self._history.violated(f"Whoever was told of a commit raised {type(error).__name__}: {error}")

    def _applied(self, write: _Write) -> Outcome:
        outcome = write.apply()
        committed = outcome[0]
        if committed is not None:
            fresh = [envelope for envelope in write.envelopes if envelope.message_id not in committed.duplicates]
            for envelope in fresh:
                self._history.committed.setdefault(envelope.message_id, self._loop.now)
                self._history.envelopes[envelope.message_id] = envelope
            if write.settlement is not None:
                self._history.settles(write.settlement)
            names = ", ".join(f"{type(one.message).__name__} {one.message_id[-8:]}" for one in fresh)
            done = f"{write.settlement.envelope.message_id[-8:]} is done" if write.settlement is not None else ""
            if names or done:
                self._history.note(f"commit {'; '.join(filter(None, (names, done)))}")
        return outcome

    def _record(self, envelope: Envelope[Any]) -> Outcome:
        outcome: list[Outcome] = []
        acceptance = self.disk.record(envelope, lambda committed, error: outcome.append((committed, error)))
        if outcome:
            return outcome[0]
        return Committed((), [envelope.message_id] if acceptance is Acceptance.DUPLICATE else ()), None

    def _complete(self, unit: Unit) -> Outcome:
        outcome: list[Outcome] = []
        self.disk.complete(unit, lambda committed, error: outcome.append((committed, error)))
        return outcome[0]

    def _settle(self, settlement: Settlement) -> Outcome:
        self.disk.settle(settlement)
        return Committed(()), None

    async def _through_writer(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()
        value: list[Any] = []

        def apply() -> Outcome:
            value.append(_at_once(work()))
            return Committed(()), None

        def done(committed: Committed | None, error: BaseException | None) -> None:
            if not future.done():
                if committed is not None:
                    future.set_result(value[0])
                else:
                    future.set_exception(error or StoreUnavailableError("no reason was given"))

        self.put(_Write(apply, done, []))
        return await future

    def _hits(self, probability: float) -> bool:
        return probability > 0 and self._random.random() < probability

    def _pause(self) -> float:
        return self._faults.delay * self._random.random() ** 3

    def __getattr__(self, name: str) -> Any:
        """Offer what else the disk can: at once, after a pause such as reading takes."""
        value = getattr(self.disk, name)
        if not inspect.iscoroutinefunction(value):
            return value

        async def after_a_pause(*args: Any, **options: Any) -> Any:
            if self._random.random() < 0.3:
                await asyncio.sleep(self._pause())
            if self._dead:
                raise StoreUnavailableError("the process died")
            return await value(*args, **options)

        return after_a_pause


def _at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """Run what never waits for anything."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("The store in memory waited for something.")
