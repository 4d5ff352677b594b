"""The microlith: wires components to three buses, a store and a tracer, and starts and stops them.

Lives inside any host: `async with app:` in a script, in a test, or as the lifespan of a web
framework. One process owns one store, or several share one.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

from microlith.application import catalog
from microlith.application.carriers import Carriers, filled_in, filled_url, from_environment
from microlith.application.connecting import Connections
from microlith.application.draining import drained
from microlith.application.erasing import Erasing, finish
from microlith.application.following import Followers, ProjectionStanding
from microlith.application.outside import followers_of
from microlith.application.reports import explain_timeouts, running_handlers
from microlith.application.resources import Resources
from microlith.application.serving import Serving, Subscribed
from microlith.application.store_side import StoreSide
from microlith.application.tasks import Tasks
from microlith.application.traces import follow_into_log, trace_place
from microlith.application.wiring import Wiring
from microlith.buses import Bus, CommandBus, EventBus, QueryBus, Subscription
from microlith.clock import Clock, SystemClock
from microlith.component import Component
from microlith.delivery import Delivery, Routes
from microlith.delivery.recovery import take_back
from microlith.envelope import Envelope
from microlith.errors import (
    ClosedError,
    ForeignLoopError,
    MicrolithError,
    NotRunningError,
    StoreError,
)
from microlith.event_store import open_event_store
from microlith.event_store.protocol import EventStore, Rebuilt
from microlith.event_store.sharing import Sharing
from microlith.messages import Kind, Message
from microlith.middleware import Middleware
from microlith.places import DEFAULT_STORE, folder_name, placed, store_beside
from microlith.serialization import MessageTypes
from microlith.tracing.telling import TellingTracer
from microlith.tracing.tracer import Tracer
from microlith.transports import Transport, make_transport
from microlith.waits import Waits

logger = logging.getLogger("microlith")

IN_MEMORY = "memory:"
_MAX_DEPTH = 100
_LANE_LIMIT = 250_000
_EVENT_LANE_LIMIT = 20_000
_THREADS = 32


class Microlith(StoreSide):
    """A microlithic application.

    Attributes:
        name: Its name, such as "shop".
        command_bus: Carries commands.
        query_bus: Carries queries and responses.
        event_bus: Carries events.
        store_url: Where events are kept: "sqlite:PATH", "postgresql://...", each with "?durability=fast", or "memory:".
            The environment variable MICROLITH_STORE_URL overrides it, except for "memory:", which tests choose.
        trace_directory: Where the trace log is kept; None: beside the store, and nowhere when that is in memory.
        delivery: The running heart; None while stopped.
        intake: Whether messages from outside are taken.
        clock: What tells when a scheduled message is due; a test may give a virtual one.
        middleware: What every message passes; may be changed until the start.
        sends_scheduled: Whether what is due is sent; not so for a tool that only looks after the schedules.
        opens: What makes the event store at start; a tool may have it made of something else than the url.
        buses: Urls of what carries the buses. The environment variables MICROLITH_COMMAND_BUS, MICROLITH_QUERY_BUS and
            MICROLITH_EVENT_BUS override it, except where the store is "memory:".
        runs: Names of the components that run in this process; None for all, none for a gateway, which only sends and waits.
            MICROLITH_COMPONENT, with commas between several, says it where nothing else does. Such a process has a store
            of its own, beside the others'.
        connects: What makes a transport of a url; a test may give a broker in memory.
    """

    def __init__(
        self,
        name: str,
        components: Sequence[Component] | str,
        *,
        store: str = DEFAULT_STORE,
        root: Path | None = None,
        middleware: Sequence[Middleware] = (),
        max_depth: int = _MAX_DEPTH,
        lane_limit: int = _LANE_LIMIT,
        buses: Mapping[str, str] | None = None,
        runs: Sequence[str] | None = None,
    ) -> None:
        """Declare an application; nothing is imported, opened or started.

        Args:
            name: Its name.
            components: Its components, or the name of a package whose sub-packages each define one.
            store: Url of the event store.
            middleware: What every message passes when it is sent and when it is handled, outermost first.
            root: Directory that a relative store path starts from; by default the current one at start.
            max_depth: How long a chain of messages causing messages may get.
            lane_limit: How many commands or queries may wait for one handler.
            buses: Urls of what carries the buses, by "command", "query" and "event", and of single types, by
                "types.NAME"; what is left out stays in the process. ${NAME} in one stands for an environment variable.
            runs: Names of the components that run in this process; by default all. With `[]` it is a gateway: it sends,
                asks and waits, and handles nothing.
        """
        self.name = name
        self.store_url = store
        self.root = root
        self.trace_directory: Path | None = None
        self.command_bus = CommandBus(self)
        self.query_bus = QueryBus(self)
        self.event_bus = EventBus(self)
        self.delivery: Delivery | None = None
        self.intake = False
        self.clock: Clock = SystemClock()
        self.sends_scheduled = True
        self.opens: Callable[[str, MessageTypes, Path], EventStore] | None = None
        self.buses: dict[str, str] = dict(buses or {})
        self.runs: tuple[str, ...] | None = None if runs is None else tuple(runs)
        self.connects: Callable[[str], Transport] = make_transport
        self._components = components
        self.middleware: tuple[Middleware, ...] = tuple(middleware)
        self._max_depth = max_depth
        self._lane_limit = lane_limit
        self._wiring: Wiring | None = None
        self._tasks = Tasks()
        self._resources = Resources()
        self._executor: ThreadPoolExecutor | None = None
        self._erasing: Erasing | None = None
        self._traces: Path | None = None
        self._serving: Serving | None = None
        self._connections: Connections | None = None
        self._followers: Followers | None = None
        self._leading: asyncio.Task[None] | None = None
        self._subscriptions: list[Subscribed] = []

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def types(self) -> MessageTypes:
        """Every message type, by name and class."""
        return self.wire().types

    @property
    def store(self) -> EventStore:
        """The open event store.

        Raises:
            NotRunningError: The application is not running.
        """
        return self._running().store

    @property
    def tracer(self) -> Tracer:
        """The tracer of the running application.

        Raises:
            NotRunningError: The application is not running.
        """
        return self._running().tracer

    @property
    def waits(self) -> int:
        """How many waits are open now."""
        return 0 if self.delivery is None else len(self.delivery.waits)

    def wire(self) -> Wiring:
        """Import the components and check everything that can be checked without running. Opens nothing.

        Raises:
            WiringError: What is wrong, where, and what to do.
        """
        if self._wiring is None:
            self._wiring = Wiring(self._components, placed() if self.runs is None else self.runs)
        return self._wiring

    def connections(self) -> Connections:
        """Work out what goes over which transport, for this process; connects to nothing.

        Raises:
            WiringError: The application cannot start as it is written, or its buses are not configured right.
        """
        buses = self.buses if self.store_url == IN_MEMORY else from_environment(self.buses)
        wiring = self.wire()
        return Connections(self.name, wiring, Carriers(filled_in(buses), wiring.types), self.connects)

    def store_place(self) -> str:
        """Return the url of the store, with what environment variables hold; it may hold a password.

        Raises:
            UnsetVariableError: It names one that is not set.
        """
        if self.store_url == IN_MEMORY:
            return IN_MEMORY
        return filled_url("store", os.environ.get("MICROLITH_STORE_URL") or self.store_url, options=True)

    def catalog(self) -> dict[str, Any]:
        """Describe components, messages, handlers and projections, ready for JSON."""
        return catalog.describe(self.name, self.wire(), self.middleware)

    async def start(self) -> None:
        """Wire, open the store, carry on what an earlier process left, and take messages.

        Raises:
            WiringError: The application cannot start as it is written.
            StoreLockedError: Another process owns the store.
        """
        if self.delivery is not None:
            raise MicrolithError(f"The microlith {self.name!r} is running already.", hint="Start it once.")
        wiring = self.wire()
        root = self.root or Path.cwd()
        url, connections = store_beside(self.store_place(), wiring.runs), self.connections()
        store = (self.opens or open_event_store)(url, wiring.types, root)
        await store.open(wiring.projections)
        self._erasing, self._traces = None, trace_place(self.trace_directory, store, url, root, wiring.runs)
        try:
            if wiring.types.keys is not None and wiring.types.keys.unfinished:
                await finish(wiring.types.keys, self._traces)
            self._connections = connections
            await connections.open()
            await self._resources.build(wiring.running)
            self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"microlith-{self.name}")
            self.delivery = self._make_delivery(wiring, store)
            follow_into_log(self._traces, self.tracer, self._tasks.spawn)
            self._serving = serving = Serving(
                self,
                wiring,
                self.delivery,
                self._resources,
                connections,
                self._tasks,
                self._executor,
                self.middleware,
                self._lane_limit,
            )
            await serving.start(self._subscriptions)
            self._followers = self.delivery.read_side = followers_of(wiring, store, self._executor, serving.value)
            self._followers.start(self._tasks.spawn)
            if store.sharing is not None and not store.leads:
                self._leading = self._tasks.spawn(self._lead(store.sharing, serving), "microlith waits to lead")
        except BaseException:
            await self._close(store)
            raise
        self.intake = True

    async def stop(self, drain: float = 10.0, *, finish_queues: bool = True) -> int:
        """Take no more messages, let handlers finish, close everything. Safe to call twice.

        Args:
            drain: Seconds to wait for handlers.
            finish_queues: Also handle what waits in queues; otherwise only what is being handled. With a
                durable store the rest is carried on at the next start.

        Returns:
            How many messages were abandoned: cut off while being handled, or lost with a store in memory.
        """
        delivery, self.intake = self.delivery, False
        if delivery is None:
            return 0
        if self._leading is not None:
            self._leading.cancel()
        delivery.timers.close()
        if self._connections is not None:
            await self._connections.stop_taking()
        in_memory = delivery.store.durability == "memory"
        if not (finish_queues or in_memory):
            for lane in delivery.routes.lanes():
                lane.close()
        try:
            await drained(delivery, monotonic() + drain, queues=finish_queues or in_memory)
        except StoreError as error:  # what could not be committed is carried on at the next start
            logger.warning("The store could not finish: %s", error)
        lanes = list(delivery.routes.lanes())
        abandoned = sum(slot.handling is not None for lane in lanes for slot in lane.slots)
        abandoned += sum(len(lane.queue) for lane in lanes) if in_memory else 0
        await take_back(delivery)
        await self._close(delivery.store)
        return abandoned

    async def idle(self, timeout: float = 10.0) -> bool:
        """Wait until every cascade has ended: no handler is at work, nothing waits for one, all is committed and folded.

        What is scheduled for later is not waited for.

        Returns:
            Whether that came within `timeout` seconds. A projection that has stopped is not waited for.
        """
        delivery = self._running()
        deadline = delivery.loop.time() + timeout
        if not await drained(delivery, monotonic() + timeout, queues=True):
            return False
        return await self._following().idle(deadline)

    async def projections(self) -> list[ProjectionStanding]:
        """Say where every projection stands, how far it is behind, and why it has stopped if it has."""
        return await self._following().standings()

    async def rebuild(self, projection: str, progress: Callable[[int, int], None] | None = None) -> Rebuilt:
        """Build what a projection keeps anew from the whole log. Others, and all handlers, see nothing of it.

        Rows in the store are built beside the live ones, which serve until the switch. An external projection is
        reset and folded again in place.

        Args:
            projection: Its full name.
            progress: Is told how many of how many events have been folded.

        Raises:
            UnknownProjectionError: There is none of that name.
            NoResetError: An external one that declares no reset.
            HandlerFailedError: It raised; old rows in the store keep serving.
        """
        return await self._following().rebuild(projection, progress or (lambda _done, _all: None))

    async def _lead(self, sharing: Sharing, serving: Serving) -> None:
        """Do what only one does of those that share the store, as soon as nobody else does."""
        try:
            await sharing.lead()
            await serving.lead()
        except StoreError as error:
            logger.critical("This process cannot lead, and leaves that to others: %s", error)
            sharing.give_up(error)

    def running(self) -> dict[str, list[dict[str, Any]]]:
        """Return the handlers at work now, by correlation id: handler, message, attempt, milliseconds so far."""
        return running_handlers(self._running())

    def cloud_event(self, envelope: Envelope[Any], *, reveal: bool = False) -> dict[str, Any]:
        """Show a message as a CloudEvents 1.0 object; secrets are masked unless `reveal`."""
        return self.types.cloud_event(envelope, self.name, show_secrets=reveal)

    def bus_of(self, kind: Kind) -> Bus[Any]:
        """Return the bus that carries a kind of message."""
        if kind == "command":
            return self.command_bus
        return self.event_bus if kind == "event" else self.query_bus

    def message_class(self, wanted: str | type[Message]) -> type[Message]:
        """Find a message class by name, or check that one is declared.

        Raises:
            UnknownTypeError: It is not.
        """
        return self.types.find(wanted).cls if isinstance(wanted, str) else self.types.of(wanted).cls

    def add_subscription(self, kind: Kind, wanted: str | type[Message], function: Callable[..., Any]) -> Subscription:
        """Add a handler that is not part of a component; `bus.subscribe` is the way to call this."""
        cancel: list[Callable[[], None]] = []
        entry = (kind, wanted, function, cancel)
        if self._serving is None:
            self._subscriptions.append(entry)
        else:
            self._serving.subscribe(entry)

        def stop() -> None:
            if entry in self._subscriptions:
                self._subscriptions.remove(entry)
            for one in cancel:
                one()
            cancel.clear()

        return Subscription(stop)

    def _running(self) -> Delivery:
        if self.delivery is None:
            raise NotRunningError(self.name)
        return self.delivery

    def _following(self) -> Followers:
        if self._followers is None:
            raise NotRunningError(self.name)
        return self._followers

    def _taking(self) -> Delivery:
        """Return the running heart, if it takes messages from outside on this loop."""
        delivery = self._running()
        if not self.intake:
            raise NotRunningError(self.name)
        if asyncio.get_running_loop() is not delivery.loop:
            raise ForeignLoopError(self.name)
        return delivery

    def _erasures(self) -> Erasing:
        delivery = self._taking()
        if self._erasing is None:
            self._erasing = Erasing(delivery, self.wire(), self._following(), self._traces)
        return self._erasing

    def _make_delivery(self, wiring: Wiring, store: EventStore) -> Delivery:
        settled = [one.settled for one in self.middleware if type(one).settled is not Middleware.settled]
        told = (wiring.types, self.name, folder_name(wiring.runs))
        tracer = TellingTracer(*told, settled) if settled else Tracer(*told)
        waits = Waits(lambda expired: explain_timeouts(self._running(), wiring, expired))
        routes = Routes(wiring.types)
        tracer.start()
        return Delivery(
            self.name,
            routes,
            store,
            tracer,
            waits,
            max_depth=self._max_depth,
            lane_limit=self._lane_limit,
            middleware=self.middleware,
            clock=self.clock,
        )

    async def _close(self, store: EventStore) -> None:
        delivery, self.delivery = self.delivery, None
        self._serving = None
        if delivery is not None:
            for lane in delivery.routes.lanes():
                lane.close()
            delivery.waits.fail_all(ClosedError(self.name))
            delivery.retrying.end_all(ClosedError(self.name))
            delivery.tracer.stop()
            followers, self._followers = self._followers, None
            if followers is not None:
                followers.close(ClosedError(self.name))
            await asyncio.sleep(0)
        connections, self._connections = self._connections, None
        if connections is not None:
            await connections.close()
        await self._tasks.cancel()
        await store.close()
        await self._resources.close()
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None
