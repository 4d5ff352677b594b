"""Serving: the lanes of an application's handlers, made, placed and started; and what handlers are given.

Does nothing with messages: lanes work them off, and `delivery` fills them.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Protocol

from microlith.aggregates import Streams
from microlith.application.connecting import Connections
from microlith.application.resources import Resources
from microlith.application.tasks import Tasks, watch
from microlith.application.wiring import Wiring
from microlith.buses import CommandBus, EventBus, QueryBus
from microlith.clock import Clock
from microlith.component import Component
from microlith.delivery import Delivery, HandlerCompletion
from microlith.delivery.recovery import load_pending, position_lane
from microlith.errors import DuplicateHandlerError, WrongBusError
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

    async def start(self, subscribed: Sequence[Subscribed]) -> None:
        """Make every lane, carry on what an earlier process left, and take messages in."""
        delivery, wiring = self._delivery, self._wiring
        completion = HandlerCompletion(delivery)
        for spec in wiring.handlers:
            lane = self._lane(spec, completion, durable=spec.message.__kind__ != "query")
            for message in spec.messages:
                self._place(lane, message)
        for projection in wiring.projections:
            for event in projection.events:
                delivery.routes.of(event).projections += 1
        for entry in subscribed:
            self.subscribe(entry, start=False)
        self._connections.place(delivery, self._executor, self._tasks.spawn, self._lane_limit)
        await load_pending(delivery)
        await delivery.retrying.load()
        head = await delivery.store.head()
        await self._connections.find_checkpoints(delivery, head)
        for lane in delivery.routes.lanes():
            if lane.spec.message.__kind__ == "event" and lane.durable:
                await position_lane(delivery, lane, head)
        for lane in delivery.routes.lanes():
            lane.start()
        self._tasks.spawn(watch(delivery), "microlith watch")
        if self._app.sends_scheduled:
            self._tasks.spawn(delivery.timers.run(), "microlith timers")
        else:
            delivery.timers.close()
        await self._connections.start(delivery, self._tasks.spawn)

    def subscribe(self, entry: Subscribed, *, start: bool = True) -> None:
        """Add a handler that is not part of a component.

        Raises:
            UnknownTypeError: No component declares the type.
            WrongBusError: It is of another kind.
            DuplicateHandlerError: A command or query that is handled already.
        """
        kind, wanted, function, cancel = entry
        types = self._wiring.types
        cls = types.find(wanted).cls if isinstance(wanted, str) else types.of(wanted).cls
        if cls.__kind__ != kind:
            raise WrongBusError(cls.__name__, cls.__kind__, kind)
        route = self._delivery.routes.of(cls)
        spec = HandlerSpec("subscription", cls, function)
        others = [lane.spec for lane in route.handling] + [one for one in self._wiring.elsewhere if cls in one.messages]
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

    def _place(self, lane: Lane, message: type[Any]) -> None:
        """Put a lane where its messages come from: this process, or a transport."""
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
