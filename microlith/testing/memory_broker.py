"""A broker in memory: what several applications in one test send to each other by.

It keeps what a real broker keeps, for as long as it exists, and can be cut off and come back. Each application gets a
transport of its own from it:

    broker = MemoryBroker()
    app = Microlith("shop", components=[...], runs=["auth"], buses={"command": "memory://test"})
    app.connects = broker.connect

Knows no network: use a real broker to see what a network does.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple

from microlith.payloads import MAX_BYTES
from microlith.transports import (
    Address,
    Change,
    Inbox,
    Parcel,
    ParcelRefusedError,
    Subscribing,
    Topic,
    Topology,
    Transport,
    TransportUnavailableError,
)
from microlith.transports.protocol import wants

_NAME = "memory broker"

_Place = tuple[str, Topic, str]
"""An application, a topic and a group."""


class _Kept(NamedTuple):
    """A parcel in a queue, and whether it has been handed out before."""

    parcel: Parcel
    again: bool = False


class _Queue:
    """What waits for one group, or in one inbox; who takes from it, and who has which keys in hand."""

    def __init__(self, *, keyed: bool) -> None:
        self.waiting: deque[_Kept] = deque()
        self.takers: set[MemoryTransport] = set()
        self.grown = asyncio.Event()
        self._keyed = keyed
        self._holders: dict[str, MemoryTransport] = {}
        self._held: Counter[str] = Counter()

    def put(self, parcel: Parcel) -> None:
        self.waiting.append(_Kept(parcel))
        self.grown.set()

    def pop(self, taker: "MemoryTransport") -> _Kept | None:
        """Take the first that nobody else has a parcel of the same key of."""
        for index, kept in enumerate(self.waiting):
            key = kept.parcel.key if self._keyed else ""
            if self._holders.get(key, taker) is taker:
                del self.waiting[index]
                if key:
                    self._holders[key] = taker
                    self._held[key] += 1
                return kept
        return None

    def let_go(self, parcel: Parcel) -> None:
        """Note that a parcel is no longer in hand."""
        key = parcel.key if self._keyed else ""
        if key:
            self._held[key] -= 1
            if not self._held[key]:
                del self._held[key], self._holders[key]
        self.grown.set()

    def put_back(self, parcels: Sequence[Parcel]) -> None:
        for parcel in parcels:
            self.let_go(parcel)
        self.waiting.extendleft(_Kept(parcel, again=True) for parcel in reversed(parcels))


class MemoryBroker:
    """Keeps topics, groups and inboxes.

    Attributes:
        away: Whether it can be reached; a test sets it by `go_away` and `come_back`.
        refused: What was put aside, with the reasons.
    """

    def __init__(self) -> None:
        self.away = False
        self.refused: list[tuple[Parcel, str]] = []
        self.groups: dict[_Place, _Queue] = {}
        self.inboxes: dict[tuple[str, Inbox], _Queue] = {}
        self.transports: list[MemoryTransport] = []
        self._changed = asyncio.Event()

    def connect(self, _url: str) -> Transport:
        """Make a transport to this broker, whatever the url."""
        return MemoryTransport(self)

    def go_away(self) -> None:
        """Cut everybody off. What was not settled comes again."""
        self.away = True
        for transport in self.transports:
            transport.lose("it was told to go away")

    def come_back(self) -> None:
        """Let everybody in again."""
        self.away = False
        self.wake()
        for transport in self.transports:
            transport.found()

    def wake(self) -> None:
        """Have whoever waits for a change look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def changes(self) -> None:
        """Wait until it comes back, or somebody closes."""
        await self._changed.wait()

    def group(self, app: str, topic: Topic, name: str) -> _Queue:
        """Return the queue of a group, made if it is new."""
        return self.groups.setdefault((app, topic, name), _Queue(keyed=topic.kind != "query"))

    def take(self, app: str, address: Address, parcel: Parcel) -> None:
        """Keep a parcel for whoever it is for."""
        if isinstance(address, Inbox):
            if (inbox := self.inboxes.get((app, address))) is not None:
                inbox.put(parcel)
            return
        if address.kind == "command":
            self.group(app, address, address.component).put(parcel)
            return
        for (owner, topic, _), queue in self.groups.items():
            if (owner, topic) == (app, address) and (queue.takers or topic.kind == "event"):
                queue.put(parcel)


class _Arrival:
    """A parcel in somebody's hands."""

    __slots__ = ("_over", "again", "parcel")

    def __init__(self, kept: _Kept, over: Callable[["_Arrival", str | None], None]) -> None:
        self.parcel = kept.parcel
        self.again = kept.again
        self._over = over

    def settle(self) -> None:
        self._over(self, None)

    def refuse(self, reason: str) -> None:
        self._over(self, reason)


class MemoryTransport:
    """One application's connection to a broker in memory."""

    broker = _NAME
    largest = MAX_BYTES

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._watchers: list[Callable[[bool, str], None]] = []
        self._topology: Topology | None = None
        self._unsettled: dict[_Queue, dict[_Arrival, None]] = {}
        self._closed = False

    async def plan(self, topology: Topology) -> list[Change]:
        """Tell which groups there are not yet."""
        self._reach()
        app = topology.app
        places = [(app, topic, topic.component) for topic in topology.sends if topic.kind == "command"]
        places += [(app, one.topic, one.group) for one in topology.takes]
        return [
            Change("create", "group", f"{app}.{topic.kind}s.{topic.component} {group}")
            for app, topic, group in dict.fromkeys(places)
            if (app, topic, group) not in self._broker.groups
        ]

    async def open(self, topology: Topology) -> None:
        """Make the groups and the inbox."""
        self._reach()
        self._topology = topology
        self._broker.transports.append(self)
        for topic in topology.sends:
            if topic.kind == "command":
                self._broker.group(topology.app, topic, topic.component)
        for wanted in topology.takes:
            self._broker.group(topology.app, wanted.topic, wanted.group).takers.add(self)
        if topology.inbox is not None:
            self._broker.inboxes[topology.app, topology.inbox] = _Queue(keyed=False)

    async def publish(self, parcels: Sequence[tuple[Address, Parcel]]) -> None:
        """Hand parcels to the broker; waits while it is away."""
        app = self._opened().app
        while self._broker.away and not self._closed:
            await self._broker.changes()
        self._reach()
        for index, (address, parcel) in enumerate(parcels):
            if len(parcel.data) > self.largest:
                raise ParcelRefusedError(index, f"{len(parcel.data)} bytes are more than {self.largest}")
            self._broker.take(app, address, parcel)
        await asyncio.sleep(0)
        self._reach()

    def subscribe(self, wanted: Subscribing, *, prefetch: int) -> AsyncIterator[_Arrival]:
        """Yield what comes for a group."""
        return self._wanted(self._broker.group(self._opened().app, wanted.topic, wanted.group), wanted, prefetch)

    def listen(self, inbox: Inbox) -> AsyncIterator[_Arrival]:
        """Yield what comes to the inbox."""
        return self._arrivals(self._broker.inboxes[self._opened().app, inbox], None)

    def watch(self, changed: Callable[[bool, str], None]) -> None:
        """Have a function told of losing and finding the broker."""
        self._watchers.append(changed)

    def lose(self, why: str) -> None:
        """Give everything back that is not settled."""
        self._give_back()
        for changed in self._watchers:
            changed(False, why)  # noqa: FBT003 (the protocol's own form)

    def found(self) -> None:
        """Say that the broker is back."""
        for queue in self._unsettled:
            queue.grown.set()
        for changed in self._watchers:
            changed(True, "")  # noqa: FBT003 (the protocol's own form)

    async def close(self) -> None:
        """Give everything back and go."""
        if self._closed or self._topology is None:
            return
        self._closed = True
        self._give_back()
        self._broker.transports.remove(self)
        for (_, topic, _), queue in self._broker.groups.items():
            queue.takers.discard(self)
            if topic.kind == "query" and not queue.takers:
                queue.waiting.clear()
        if self._topology.inbox is not None:
            self._broker.inboxes.pop((self._topology.app, self._topology.inbox), None)
        for queue in self._unsettled:
            queue.grown.set()
        self._broker.wake()

    def _opened(self) -> Topology:
        if self._topology is None:
            raise TransportUnavailableError(_NAME, "it was not opened")
        return self._topology

    def _reach(self) -> None:
        if self._closed:
            raise TransportUnavailableError(_NAME, "it was closed")
        if self._broker.away:
            raise TransportUnavailableError(_NAME, "it is away")

    def _give_back(self) -> None:
        for queue, arrivals in self._unsettled.items():
            queue.put_back([arrival.parcel for arrival in arrivals])
            arrivals.clear()

    async def _wanted(self, queue: _Queue, wanted: Subscribing, prefetch: int) -> AsyncIterator[_Arrival]:
        async for arrival in self._arrivals(queue, prefetch):
            if wants(wanted, arrival.parcel):
                yield arrival
            else:
                arrival.settle()

    async def _arrivals(self, queue: _Queue, prefetch: int | None) -> AsyncIterator[_Arrival]:
        held = self._unsettled.setdefault(queue, {})

        def over(arrival: _Arrival, reason: str | None) -> None:
            if arrival in held:
                del held[arrival]
                queue.let_go(arrival.parcel)
                if reason is not None:
                    self._broker.refused.append((arrival.parcel, reason))

        while not self._closed:
            full = prefetch is not None and len(held) >= prefetch
            if self._broker.away or full or (kept := queue.pop(self)) is None:
                queue.grown.clear()
                await queue.grown.wait()
                continue
            arrival = _Arrival(kept, over)
            if prefetch is None:
                queue.let_go(kept.parcel)
            else:
                held[arrival] = None
            yield arrival
