"""The world of a simulation: an application, its disk, and what befalls them.

A scenario gets it, and acts in it as the clients of the application do. A crash ends the application, not the scenario:
what the scenario waits for then raises, as it does for a client whose server dies.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from random import Random
from typing import Any, TypeVar

from microlith.application import Microlith
from microlith.application import draining as application_draining
from microlith.application import microlith as application_module
from microlith.application import serving as application_serving
from microlith.context import correlated
from microlith.delivery import Delivery, Receipt
from microlith.envelope import Envelope
from microlith.errors import ClosedError, HandlerFailedError, MicrolithError, NotRunningError, StoreError
from microlith.event_store.memory import MemoryEventStore
from microlith.messages import Message
from microlith.testing.simulation.faults import Faults
from microlith.testing.simulation.history import History
from microlith.testing.simulation.loop import VirtualLoop
from microlith.testing.simulation.nature import Patches
from microlith.testing.simulation.store import SimulatedEventStore
from microlith.tracing.tracer import Tracer

T = TypeVar("T")

_WATCHED_EVERY = 0.05
_LOOKED_AT = 1.0
"""Seconds for which one life is looked at, before it is asked again which one it is."""
_PATIENCE = 200
"""How often something is tried again over crashes."""


class World:
    """One simulation, as its scenario sees it.

    Attributes:
        app: The application. After a crash it is the same object, started anew.
        seed: What everything follows from.
        random: Chance for the scenario's own choices.
        life: How often the application was started.
        end_threads: Ends the threads of the life before.
        faults: What may go wrong.
        history: What happened.
    """

    def __init__(self, app: Microlith, loop: VirtualLoop, seed: int, faults: Faults, history: History) -> None:
        self.app = app
        self.seed = seed
        self.random = Random(f"scenario {seed}")  # noqa: S311 (chance that can be had again is the point)
        self.life = 0
        self.faults = faults
        self.history = history
        self._loop = loop
        self._disk: MemoryEventStore | None = None
        self._store: SimulatedEventStore | None = None
        self._up = asyncio.Event()
        self._stopping = False
        self._disasters = 0
        self._reviving: asyncio.Task[None] | None = None
        self.end_threads: Callable[[], None] = lambda: None

    @property
    def now(self) -> float:
        """Virtual seconds since the simulation began."""
        return self._loop.now

    @property
    def disasters(self) -> int:
        """How many crashes and failures of the disk there were."""
        return self._disasters

    def note(self, text: str) -> None:
        """Add a line to the history; it is shown when the simulation fails."""
        self.history.note(f"scenario: {text}")

    async def dispatch(self, message: Message | Envelope[Any]) -> Receipt:
        """Send a message until it is accepted: with the same id, over crashes and refusals. As a careful client does."""
        envelope: Envelope[Any] = message if isinstance(message, Envelope) else correlated(message)

        async def send() -> Receipt:
            return await self.app.bus_of(envelope.message.__kind__).dispatch(envelope)

        return await self.retried(send)

    async def retried(self, call: Callable[[], Awaitable[T]]) -> T:
        """Await what a function returns; when a fault of the simulation ends it, call it again."""
        for _ in range(_PATIENCE):
            await self._up.wait()
            try:
                return await call()
            except MicrolithError as error:
                # What failed in its handler was accepted, and is carried on at the next start: to send it again is no use.
                if not self.is_to_blame(error) or isinstance(error, HandlerFailedError):
                    raise
            await asyncio.sleep(self._loop.random.random() * 0.1)
        raise AssertionError(f"It did not go well in {_PATIENCE} tries.")

    def is_to_blame(self, error: BaseException) -> bool:
        """Tell whether an error comes from a fault of this simulation, rather than from the application."""
        if not (self._disasters or self.history.refused or self.life > 1 or not self._up.is_set()):
            return False
        kinds = ClosedError, NotRunningError, StoreError
        return isinstance(error, kinds) or isinstance(error.__cause__, kinds)

    async def crash(self) -> None:
        """Let the process die now, and return when it is up again."""
        self._die("asked for")
        await self._up.wait()

    async def restart(self, *, finish_queues: bool = True) -> None:
        """Stop the application in good order, and start it again. Whoever stops waiting for that does not stop it."""
        await self._up.wait()
        self._up.clear()
        self._reviving = self._loop.create_task(self._restart(finish_queues), name="restart", context=Context())
        await asyncio.shield(self._reviving)

    async def _restart(self, finish_queues: bool) -> None:
        self.history.note("stop")
        self._stopping = True
        try:
            await self.app.stop(finish_queues=finish_queues)
        finally:
            self._stopping = False
        await self.start()

    async def idle(self, seconds: float = 3600.0) -> bool:
        """Wait until every cascade has ended, also over crashes; tell whether that came in time."""
        deadline = self._loop.time() + seconds
        while True:
            await self._up.wait()
            life = self.life
            try:
                # Little by little: the lanes of a dead process never come to rest.
                calm = await self.app.idle(min(_LOOKED_AT, max(0.0, deadline - self._loop.time())))
            except MicrolithError as error:
                if not self.is_to_blame(error):
                    raise
                await asyncio.sleep(_WATCHED_EVERY)
                continue
            over = calm or self._loop.time() >= deadline
            if over and self._up.is_set() and life == self.life:
                return calm

    async def start(self) -> None:
        """Begin a life. What threads of the one before were about to do died with it."""
        self.end_threads()
        self.life += 1
        self.history.note(f"start, life {self.life}")
        await self.app.start()
        self._up.set()

    async def end(self) -> None:
        """Leave the application as it was declared, whatever state it is in: another simulation may begin with it."""
        self._up.clear()
        self._stopping = True
        if self._reviving is not None:
            self._reviving.cancel()
        if self.app.delivery is not None and self._store is not None:
            self._store.power_off()
            await self._close(self._store)

    async def heal(self) -> None:
        """Let nothing go wrong from now on, and start once more if something may have been left by a refused commit."""
        self._disasters = max(self._disasters, self.faults.at_most)
        await self._up.wait()
        if self._store is not None:
            self._store.heal()
        if self.history.refused:
            await self.restart()
            if self._store is not None:
                self._store.heal()
            if not await self.idle():
                self.history.violated("The application is not idle after its last start.")

    def open_store(self, _url: str, types: Any, _root: Any) -> Any:
        """Open the store of a new life. Takes the place of what reads the url."""
        if self._disk is None:
            self._disk = MemoryEventStore(types)
        loop = self._loop
        self._store = SimulatedEventStore(
            self._disk, loop, loop.random, self.faults, self.history, self._strikes, self._send_again
        )
        return self._store

    @property
    def disk(self) -> MemoryEventStore:
        """What is committed."""
        if self._disk is None:
            raise NotRunningError(self.app.name)
        return self._disk

    def _strikes(self, where: str) -> bool:
        if not self._up.is_set() or self._disasters >= self.faults.at_most:
            return False
        if where == "a commit fails":
            self._disasters += 1
            self._loop.call_later(self._loop.random.random() * 0.2, self._die, "the disk failed", context=Context())
            return True
        if self.faults.crash and self._loop.random.random() < self.faults.crash:
            self._disasters += 1
            self._die(where)
            return True
        return False

    def _die(self, where: str) -> None:
        """End everything that the process does. What nobody was told of stays unknown."""
        delivery, store = self.app.delivery, self._store
        if delivery is None or store is None or not (self._up.is_set() or self._stopping):
            return
        self._up.clear()
        self.history.note(f"CRASH: {where}")
        store.power_off()
        self.app.intake = False
        for lane in delivery.routes.lanes():
            lane.close()
            for slot in lane.slots:
                if slot.task is not None:
                    slot.task.cancel()
        delivery.waits.fail_all(ClosedError(self.app.name))
        delivery.retrying.end_all(ClosedError(self.app.name))
        store.refuse_all()
        if not self._stopping:
            self._reviving = self._loop.create_task(self._revive(store), name="revive", context=Context())

    async def _revive(self, store: SimulatedEventStore) -> None:
        await self._close(store)
        await asyncio.sleep(self._loop.random.random() * 0.5)
        await self.start()

    async def _close(self, store: SimulatedEventStore) -> None:
        await self.app._close(store)  # noqa: SLF001 (a dead process stops in no better order)

    def _send_again(self, envelope: Envelope[Any]) -> None:
        if self._up.is_set():
            self.history.note(f"sent again: {type(envelope.message).__name__} {envelope.message_id[-8:]}")
            try:
                self.app.bus_of(envelope.message.__kind__).dispatch(envelope)
            except MicrolithError as error:
                self.history.note(f"refused: {error}")

    def inhabit(self, patches: Patches) -> None:
        """Take the places of what the application gets from outside: its store, its trace log, its periodic looks."""
        patches.set(application_module, "open_event_store", self.open_store)
        patches.set(application_serving, "watch", _never_ending)
        patches.set(application_draining, "_LOOK_EVERY", _WATCHED_EVERY)
        patches.set(application_module, "trace_place", lambda *_: None)
        patches.wrap(Tracer, "_tick", _only_when_followed)
        patches.wrap(Tracer, "follow", _then_tick)
        self._loop.before_rest = self._next_timeout
        self._loop.rested = self._check_timeouts

    def _next_timeout(self, then: float) -> float:
        """Find the moment before another one at which a handler must be cut off."""
        delivery = self.app.delivery
        if delivery is not None:
            for lane in delivery.routes.lanes():
                for slot in lane.slots:
                    if slot.started < then and not slot.timed_out:
                        then = min(then, slot.started + lane.spec.timeout + _WATCHED_EVERY / 2)
        return then

    def _check_timeouts(self, now: float) -> None:
        delivery = self.app.delivery
        for lane in delivery.routes.lanes() if delivery is not None else ():
            lane.check_timeouts(now)


async def _never_ending(_: Delivery) -> None:
    """Take the place of what looks at the handlers from time to time; the loop itself does that here."""
    await asyncio.get_running_loop().create_future()


def _only_when_followed(original: Any) -> Any:
    def tick(tracer: Tracer) -> None:
        if tracer._followers:  # noqa: SLF001 (otherwise time would never stand still)
            original(tracer)
        else:
            tracer._timer = None  # noqa: SLF001

    return tick


def _then_tick(original: Any) -> Any:
    def follow(tracer: Tracer, *args: Any, **options: Any) -> Any:
        follower = original(tracer, *args, **options)
        if tracer._timer is None:  # noqa: SLF001
            tracer._tick()  # noqa: SLF001
        return follower

    return follow
