"""Serving: the lanes of an application's handlers, made, placed and started; and what handlers are given.

Does nothing with messages: lanes work them off, and `delivery` fills them.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Protocol

from microlith.aggregates import Streams
from microlith.application.connecting import Connections, let_others_take
from microlith.application.resources import Resources
from microlith.application.tasks import Tasks, watch
from microlith.application.wiring import Wiring
from microlith.buses import CommandBus, EventBus, QueryBus
from microlith.clock import Clock
from microlith.component import Component
from microlith.delivery import Delivery, HandlerCompletion
from microlith.delivery.patience import patiently
from microlith.delivery.recovery import load_pending, position_lane
from microlith.delivery.sharing import KeyClaims, SharedStore
from microlith.errors import DuplicateHandlerError, WiringError, WrongBusError
from microlith.event_store.protocol import KeyedLetters
from microlith.handlers.declared import HandlerSpec
from microlith.handlers.injection import plan_call
from microlith.handlers.lanes import Lane
from microlith.messages import Kind
from microlith.middleware import Middleware
from microlith.processes import Processes
from microlith.projections import View

_EVENT_LANE_LIMIT = 20_000

Subscribed = tuple[Kind, Any, Callable[..., Any], list[Callable[[], None]]]
"""A handler that was added by `subscribe`: kind, message, function, and what cancels it."""


class Buses(Protocol):
    """What handlers may ask for of the application itself."""

    command_bus: CommandBus
    query_bus: QueryBus
    event_bus: EventBus
    clock: Clock
    sends_scheduled: bool


class UncarriedCommandError(WiringError):
    """A command goes over no broker, though several processes share the store of its component."""

    def __init__(self, command: str) -> None:
        super().__init__(
            f"{command} goes over no broker, and the processes that share the event store could not share it.",
            hint="Give the command bus a broker, or take `shared=yes` out of the store's url.",
        )


def _is_led(spec: HandlerSpec) -> bool:
    """Tell whether a handler is that of events, which one of those that share a store hands over alone."""
    return spec.message.__kind__ == "event"


class Serving:
    """The lanes of one running application."""

    def __init__(
        self,
        app: Buses,
        wiring: Wiring,
        delivery: Delivery,
        resources: Resources,
        connections: Connections,
        tasks: Tasks,
        executor: Executor,
        middleware: Sequence[Middleware],
        lane_limit: int,
    ) -> None:
        self._app = app
        self._wiring = wiring
        self._delivery = delivery
        self._resources = resources
        self._connections = connections
        self._tasks = tasks
        self._executor = executor
        self._middleware = middleware
        self._lane_limit = lane_limit
        self._streams: Streams | None = None
        self._shared: SharedStore | None = None

    async def start(self, subscribed: Sequence[Subscribed]) -> None:
        """Make every lane, carry on what an earlier process left, and take messages in."""
        delivery, wiring, sharing = self._delivery, self._wiring, self._delivery.store.sharing
        leads, waiting = delivery.store.leads, list[KeyedLetters]()
        for spec in wiring.handlers:
            if leads or not _is_led(spec):
                self._place(self._made(spec))
        for projection in wiring.projections:
            for event in projection.events:
                delivery.routes.of(event).projections += 1
        for entry in subscribed:
            self.subscribe(entry, start=False)
        self._connections.place(delivery, self._executor, self._tasks.spawn, self._lane_limit)
        if sharing is not None:
            self._check_carried()
            self._shared = SharedStore(delivery, sharing)
            self._shared.start(await delivery.store.head(), self._tasks.spawn)
        if leads:
            await load_pending(delivery)
            await self._position([lane for lane in delivery.routes.lanes() if _is_led(lane.spec) and lane.durable])
            await self._know_what_others_wrote()
            waiting = await delivery.retrying.load(delivery.routes.lanes())
        else:
            self._count_led(1)
            delivery.timers.close()
        for lane in delivery.routes.lanes():
            lane.start()
        delivery.retrying.go_on(waiting)
        self._tasks.spawn(watch(delivery), "microlith watch")
        self._tasks.spawn(let_others_take(delivery.store, self._connections), "microlith watches its store")
        await self._connections.start(delivery, self._tasks.spawn)
        if leads:
            await self._begin_to_lead()

    async def lead(self) -> None:
        """Go on as the one that leads those who share the store. While its database is away, that is waited for."""
        delivery = self._delivery
        lanes = [self._made(spec) for spec in self._wiring.handlers if _is_led(spec)]
        await patiently(lambda: load_pending(delivery))
        await patiently(lambda: self._position(lanes))
        waiting = await patiently(lambda: delivery.retrying.load(lanes))
        self._count_led(-1)
        # Only now: what is delivered to a lane that does not know its place would hide what is before.
        for lane in lanes:
            self._place(lane)
        await self._know_what_others_wrote()
        for lane in lanes:
            lane.start()
        delivery.retrying.go_on(waiting)
        delivery.timers.open()
        await self._begin_to_lead()

    async def _position(self, lanes: Sequence[Lane]) -> None:
        """Find out where those stood who handed events over before."""
        delivery = self._delivery
        head = await delivery.store.head()
        await self._connections.find_checkpoints(delivery, head)
        for lane in lanes:
            await position_lane(delivery, lane, head)

    async def _know_what_others_wrote(self) -> None:
        """Have lanes read what was written while they had no place yet."""
        if self._shared is not None:
            self._shared.wrote(await self._delivery.store.head())

    def _count_led(self, change: int) -> None:
        """Count the handlers of events that whoever leads has, where this process does not."""
        for spec in self._wiring.handlers:
            if _is_led(spec):
                for message in spec.messages:
                    self._delivery.routes.of(message).leaves += change

    async def _begin_to_lead(self) -> None:
        """Begin with what only one of those does that share a store, once everything is in its place."""
        if self._app.sends_scheduled:
            self._tasks.spawn(self._delivery.timers.run(), "microlith timers")
        else:
            self._delivery.timers.close()
        if self._shared is not None:
            self._tasks.spawn(self._shared.carry_on_for_others(), "microlith carries on for others")
        await self._connections.lead(self._delivery, self._tasks.spawn)

    def _check_carried(self) -> None:
        """Refuse a command that one process would keep from the others.

        Raises:
            UncarriedCommandError: It goes over no broker.
        """
        for spec in self._wiring.handlers:
            for message in spec.messages:
                entry = self._wiring.types.of(message)
                if entry.kind == "command" and not self._connections.carries(entry):
                    raise UncarriedCommandError(entry.full_name)

    def subscribe(self, entry: Subscribed, *, start: bool = True) -> None:
        """Add a handler that is not part of a component.

        Raises:
            UnknownTypeError: No component declares the type.
            WrongBusError: It is of another kind.
            DuplicateHandlerError: A command or query that is handled already.
            UncarriedCommandError: A command, though several processes share the store.
        """
        kind, wanted, function, cancel = entry
        types = self._wiring.types
        cls = types.find(wanted).cls if isinstance(wanted, str) else types.of(wanted).cls
        if cls.__kind__ != kind:
            raise WrongBusError(cls.__name__, cls.__kind__, kind)
        route = self._delivery.routes.of(cls)
        spec = HandlerSpec("subscription", cls, function)
        others = [lane.spec for lane in route.handling] + [one for one in self._wiring.elsewhere if cls in one.messages]
        if kind == "command" and self._delivery.store.sharing is not None:
            raise UncarriedCommandError(cls.__name__)
        if others and kind != "event":
            raise DuplicateHandlerError(cls.__name__, others[0].place, spec.place)
        lane = self._lane(spec, HandlerCompletion(self._delivery), durable=kind == "command")
        route.lanes.append(lane)

        def stop() -> None:
            if lane in route.lanes:
                route.lanes.remove(lane)
            lane.close()

        cancel.append(stop)
        if start:
            lane.start()

    def value(self, annotation: Any, detail: Any) -> Any:
        """Return what a handler asks for by an annotation; `detail` is the component or the table that it is of."""
        if detail is None:
            store = self._delivery.store
            if annotation is Streams:
                if self._streams is None:
                    self._streams = Streams(store, self._tasks.spawn)
                return self._streams
            if annotation is Processes:
                return Processes(store)
            app = self._app
            known = {
                CommandBus: app.command_bus,
                QueryBus: app.query_bus,
                EventBus: app.event_bus,
                Clock: app.clock,
            }
            return known.get(annotation, app)
        if isinstance(detail, Component):
            return self._resources.get(detail, annotation)
        return View(annotation.__args__[0], detail, self._delivery.store)

    def _made(self, spec: HandlerSpec) -> Lane:
        """Make the lane of a handler."""
        lane = self._lane(spec, HandlerCompletion(self._delivery), durable=spec.message.__kind__ != "query")
        sharing = self._delivery.store.sharing
        if sharing is not None and lane.keyed is not None and not _is_led(spec):
            lane.claims = KeyClaims(self._delivery.store, sharing, spec.name, self._tasks.spawn)
        return lane

    def _place(self, lane: Lane) -> None:
        """Put a lane where its messages come from: this process, or a transport."""
        for message in lane.spec.messages:
            route = self._delivery.routes.of(message)
            if route.kind != "event" and self._connections.carries(route.entry):
                route.inbound = lane
            else:
                route.lanes.append(lane)

    def _lane(self, spec: HandlerSpec, completion: HandlerCompletion, *, durable: bool) -> Lane:
        call = plan_call(spec, self._wiring.resolver(spec, self.value))
        limit = _EVENT_LANE_LIMIT if spec.message.__kind__ == "event" else self._lane_limit
        return Lane(
            spec,
            call,
            completion,
            self._executor,
            limit=limit,
            durable=durable,
            spawn=self._tasks.spawn_worker,
            middleware=self._middleware,
        )
