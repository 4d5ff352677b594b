"""Connecting: the transports of a running application, and everything that goes over them.

Works out what this process sends and takes, opens a transport for each broker, puts outboxes where messages leave, and starts
what takes messages in. Without brokers there is nothing of it.

Decides nothing about single messages; see `microlith.delivery.outbox` and `arriving`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from time import time
from typing import Any

from microlith.application.carriers import Carriers
from microlith.application.wiring import Wiring
from microlith.delivery import Delivery, HandlerCompletion, Route
from microlith.delivery.arriving import Arrivals
from microlith.delivery.outbox import EVENTS, EventOutbox, Outbox
from microlith.delivery.replies import InboxReplies
from microlith.event_store.protocol import EventStore
from microlith.handlers.declared import HandlerSpec
from microlith.ids import new_id, short_id
from microlith.messages import Event
from microlith.places import GATEWAY
from microlith.serialization import MessageType
from microlith.transports import Change, Inbox, Subscribing, Topic, Topology, Transport
from microlith.transports.cloud_events import Post

logger = logging.getLogger("microlith.transports")
states = logging.getLogger("microlith.brokers")

_LOOK_SECONDS = 1.0
"""Seconds between two looks at whether the store still writes."""

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
Connect = Callable[[str], Transport]


class Connections:
    """The transports of one process.

    Attributes:
        process: Name of the process at the brokers: its components; the application when it runs all, "gateway" when none.
        inbox: Where it hears what it has caused elsewhere; None without brokers.
        places: What carries each bus and each type that the configuration names, fit to be shown.
        connect: Makes the transport that a url means.
    """

    def __init__(self, app: str, wiring: Wiring, carriers: Carriers, connect: Connect) -> None:
        self.process = app if wiring.runs is None else "-".join(sorted(wiring.runs)) or GATEWAY
        self.inbox = Inbox(f"{self.process}-{short_id(new_id())}") if carriers.urls else None
        self.places = carriers.places
        self._app = app
        self._wiring = wiring
        self._carriers = carriers
        self.connect = connect
        self._handled_by = {
            message: spec
            for spec in (*wiring.handlers, *wiring.elsewhere)
            for message in spec.messages
            if not issubclass(message, Event)
        }
        self._transports: dict[str, Transport] = {}
        self._checkpoints: dict[str, int] = {}
        self._arrivals: dict[str, Arrivals] = {}
        self._replies: dict[str, InboxReplies | None] = {}
        self._taking: list[asyncio.Task[None]] = []
        self._post = Post(wiring.types, app, self.process, None if self.inbox is None else self.inbox.name)

    def carries(self, entry: MessageType) -> bool:
        """Tell whether a type goes over a transport."""
        return self._carriers.of(entry) is not None

    @property
    def transports(self) -> list[Transport]:
        """The open transports."""
        return list(self._transports.values())

    def topologies(self) -> dict[str, Topology]:
        """Say what this process needs at each broker, by its url."""
        return {url: self._topology(url) for url in self._carriers.urls}

    def carried_by(self, url: str) -> list[str]:
        """Name what goes over a transport: buses, and types by "types.NAME", as the configuration does."""
        return [name for name, place in self.places.items() if place == self._carriers.names[url]]

    async def plan(self) -> list[tuple[str, Change]]:
        """Tell what the brokers lack, or have otherwise, of what this process needs; each with its broker.

        Raises:
            TransportError: One cannot be reached.
        """
        found: list[tuple[str, Change]] = []
        async with self._each() as transports:
            for transport, topology in transports:
                found += [(transport.broker, change) for change in await transport.plan(topology)]
        return found

    async def create(self) -> None:
        """Make at the brokers what they lack of what this process needs, without sending or taking anything.

        Raises:
            TransportError: One cannot be reached, or has something otherwise.
        """
        async with self._each() as transports:
            for transport, topology in transports:
                await transport.open(topology)

    @asynccontextmanager
    async def _each(self) -> AsyncIterator[list[tuple[Transport, Topology]]]:
        """Give transports of their own, with what is to last at each broker; closed in the end."""
        given = [(self.connect(url), one._replace(inbox=None)) for url, one in self.topologies().items()]
        try:
            yield given
        finally:
            for transport, _ in given:
                await transport.close()

    async def open(self) -> None:
        """Connect to every broker.

        Raises:
            TransportError: One cannot be reached, or lacks what cannot be made there.
        """
        for url, topology in self.topologies().items():
            transport = self.connect(url)
            self._transports[url] = transport
            await transport.open(topology)

    def place(self, delivery: Delivery, executor: Executor, spawn: Spawn, limit: int) -> None:
        """Put an outbox where the messages of a component leave, and note which events do."""
        completion = HandlerCompletion(delivery)
        outboxes: dict[tuple[str, Topic], Outbox] = {}
        for entry, url in self._carried():
            route = delivery.routes.of(entry.cls)
            if entry.kind == "event":
                route.leaves = 1
            elif (topic := self._asks(entry)) is not None:
                outbox = outboxes.get((url, topic))
                if outbox is None:
                    transport = self._transports[url]
                    outbox = outboxes[url, topic] = Outbox(
                        topic,
                        [entry.cls],
                        delivery,
                        completion,
                        transport,
                        self._post,
                        executor=executor,
                        limit=limit,
                        spawn=spawn,
                    )
                route.lanes.append(outbox)
                route.leaves = 0 if route.inbound is None else 1
        for spec in (*self._wiring.handlers, *self._wiring.elsewhere):
            for message in spec.messages:
                delivery.routes.of(message).key = spec.key
        for spec in self._wiring.elsewhere:
            for message in spec.messages:
                delivery.routes.of(message).elsewhere = spec.name

    async def find_checkpoints(self, delivery: Delivery, head: int) -> None:
        """Find out up to where events were sent over each transport; before any handler can append one.

        An outbox that is new, as when a broker was added or moved, passes over nothing that another had yet to send.
        """
        names = {self._outbox_of(url) for url in self._transports if self._sends_events(url)}
        if names:
            self._checkpoints = await delivery.store.carry_on(EVENTS, names, start=head)

    async def start(self, delivery: Delivery, spawn: Spawn) -> None:
        """Begin to tell and to hear, and to take commands and queries."""
        takes = [wanted for url in self._transports for wanted in self._topology(url).takes]
        recorded = {self._wiring.types.find(name).cls for wanted in takes for name in wanted.types or ()}
        for url, transport in self._transports.items():
            transport.watch(_told(delivery, transport.broker))
            replies = None
            if url == self._carriers.inbox and self.inbox is not None:
                delivery.replies = replies = InboxReplies(transport, self._post)
                spawn(replies.run(), "microlith replies")
            self._replies[url] = replies
            topology = self._topology(url)
            arrivals = self._arrivals[url] = Arrivals(delivery, transport, self._post, recorded)
            if topology.inbox is not None:
                self._take(spawn, arrivals.listen(topology.inbox), "inbox")
            for wanted in topology.takes:
                if wanted.topic.kind != "event":
                    self._take(spawn, arrivals.take(wanted), f"{wanted.topic.kind} {wanted.topic.component}")

    async def lead(self, delivery: Delivery, spawn: Spawn) -> None:
        """Begin with what only one of those does that share a store: send events, and take those of others."""
        for url, transport in self._transports.items():
            if self._sends_events(url):
                name = self._outbox_of(url)
                outbox = EventOutbox(name, delivery, transport, self._post, self._carries(url), self._replies[url])
                outbox.start(self._checkpoints[name], await delivery.store.head(), spawn)
                delivery.outboxes.append(outbox)
            for wanted in self._topology(url).takes:
                if wanted.topic.kind == "event":
                    self._take(spawn, self._arrivals[url].take(wanted), f"event {wanted.topic.component}")

    async def stop_taking(self) -> None:
        """Take nothing more; what has come and is not settled yet may still be."""
        taking, self._taking = self._taking, []
        for task in taking:
            task.cancel()
        if taking:
            await asyncio.wait(taking)

    async def close(self) -> None:
        """Tell the brokers what was settled, and let go of them."""
        await self.stop_taking()
        for transport in self._transports.values():
            try:
                await transport.close()
            except Exception:  # the others are to be closed, too
                logger.exception("%s was not closed properly.", transport.broker)
        self._transports = {}

    def _outbox_of(self, url: str) -> str:
        return f"{EVENTS}@{self._carriers.names[url]}"

    def _events_of(self, url: str) -> set[type]:
        return {entry.cls for entry, carrier in self._carried() if entry.kind == "event" and carrier == url}

    def _sends_events(self, url: str) -> bool:
        return url == self._carriers.inbox or bool(self._events_of(url))

    def _carries(self, url: str) -> Callable[[Route], bool]:
        carried = self._events_of(url)
        return lambda route: route.entry.cls in carried

    def _take(self, spawn: Spawn, work: Coroutine[Any, Any, None], name: str) -> None:
        self._taking.append(spawn(work, f"microlith takes {name}"))

    def _carried(self) -> Iterator[tuple[MessageType, str]]:
        for entry in self._wiring.types:
            url = self._carriers.of(entry)
            if url is not None and not entry.step_of:
                yield entry, url

    def _asks(self, entry: MessageType) -> Topic | None:
        """Return where a command or query goes: to whom handles it; None when nobody is known to."""
        if entry.kind not in ("command", "query"):
            return None
        spec = self._handled_by.get(entry.cls)
        if spec is None:
            return Topic(entry.kind, entry.component) if self._carriers.is_named(entry) else None
        # A query is settled when it comes, so that one slow handler does not hold up those of others.
        return Topic(entry.kind, spec.component if entry.kind == "query" else _own(spec))

    def _topology(self, url: str) -> Topology:
        carried = [entry for entry, carrier in self._carried() if carrier == url]
        asked = [topic for entry in carried if (topic := self._asks(entry)) is not None]
        told = [Topic("event", entry.component) for entry in carried if entry.kind == "event"]
        here = {message for spec in self._wiring.handlers for message in spec.messages}
        takes = [
            Subscribing(topic, topic.component)
            for topic in dict.fromkeys(self._asks(entry) for entry in carried if entry.cls in here)
            if topic is not None
        ]
        return Topology(
            self._app,
            tuple(dict.fromkeys((*asked, *told))),
            (*takes, *self._takes_events(carried)),
            self.inbox if url == self._carriers.inbox else None,
        )

    def _takes_events(self, carried: list[MessageType]) -> Iterator[Subscribing]:
        """Yield what each component takes of what happened in each component."""
        wanted: dict[tuple[str, str], set[str]] = {}
        shown = {entry.cls: entry for entry in carried if entry.kind == "event"}
        takers = [(spec.component, message) for spec in self._wiring.handlers for message in spec.messages]
        takers += [(one.component, event) for one in self._wiring.projections for event in one.events]
        for taker, message in takers:
            entry = shown.get(message)
            if entry is not None:
                wanted.setdefault((entry.component, taker), set()).add(self._wiring.types.shown(entry))
        for (component, taker), names in sorted(wanted.items()):
            yield Subscribing(Topic("event", component), taker, frozenset(names))


async def let_others_take(store: EventStore, connections: Connections) -> None:
    """Let go of the brokers once a store writes no more: what was taken and cannot be settled is another process's to do."""
    while store.failure is None:  # noqa: ASYNC110 (stores tell nobody)
        await asyncio.sleep(_LOOK_SECONDS)
    if connections.transports:
        logger.critical("This process takes nothing more from its brokers: %s", store.failure)
        await connections.close()


def _own(spec: HandlerSpec) -> str:
    """Name the place of a handler's commands, so that no other handler waits for a slow one: "auth.login".

    The commands of one aggregate share a place, "stock.Shelf", since they keep their order among each other.
    """
    component, handler, *command = spec.name.split(".", 2)
    return f"{component}.{handler}" if command else spec.name


def _told(delivery: Delivery, broker: str) -> Callable[[bool, str], None]:
    def changed(connected: bool, why: str) -> None:
        delivery.tracer.connection(broker, why if not connected else "")
        if connected:
            delivery.away.pop(broker, None)
            states.warning("%s is back; what waited is sent.", broker)
        else:
            delivery.away[broker] = (time(), why)
            states.warning("%s is away: %s. What is sent meanwhile waits.", broker, why.rstrip("."))

    return changed
