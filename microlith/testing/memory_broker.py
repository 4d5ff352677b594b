"""A broker in memory: what several applications in one test send to each other by.

It keeps what a real broker keeps, for as long as it exists, and can be cut off and come back. Each application gets a
transport of its own from it:

    broker = MemoryBroker()
    app = Microlith("shop", components=[...], runs=["auth"], buses={"command": "memory://test"})
    app.connects = broker.connect

Knows no network: use a real broker to see what a network does.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Sequence

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


class _Queue:
    """What waits for one group, or in one inbox."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[Parcel, bool]] = deque()
        self.types: frozenset[str] | None = None
        self.grown = asyncio.Event()

    def put(self, parcel: Parcel, *, again: bool = False) -> None:
        self.waiting.append((parcel, again))
        self.grown.set()

    def put_back(self, parcels: Sequence[Parcel]) -> None:
        self.waiting.extendleft((parcel, True) for parcel in reversed(parcels))
        self.grown.set()


class MemoryBroker:
    """Keeps topics, groups and inboxes.

    Attributes:
        away: Whether it can be reached; a test sets it by `go_away` and `come_back`.
        refused: What was put aside, with the reasons.
    """

    def __init__(self) -> None:
        self.away = False
        self.refused: list[tuple[Parcel, str]] = []
        self.groups: dict[tuple[Topic, str], _Queue] = {}
        self.inboxes: dict[Inbox, _Queue] = {}
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
        self._changed.set()
        self._changed = asyncio.Event()
        for transport in self.transports:
            transport.found()

    async def reachable(self) -> None:
        """Wait until it can be reached."""
        while self.away:
            await self._changed.wait()

    def group(self, wanted: Subscribing) -> _Queue:
        """Return the queue of a group, made if it is new."""
        queue = self.groups.setdefault((wanted.topic, wanted.group), _Queue())
        queue.types = wanted.types
        return queue

    def take(self, address: Address, parcel: Parcel) -> None:
        """Keep a parcel for whoever it is for."""
        if isinstance(address, Inbox):
            if (inbox := self.inboxes.get(address)) is not None:
                inbox.put(parcel)
            return
        if address.kind == "command":
            self.group(Subscribing(address, address.component)).put(parcel)
            return
        for (topic, group), queue in self.groups.items():
            if topic == address and wants(Subscribing(topic, group, queue.types), parcel):
                queue.put(parcel)


class _Arrival:
    """A parcel in somebody's hands."""

    __slots__ = ("_over", "again", "parcel")

    def __init__(self, parcel: Parcel, over: Callable[["_Arrival", str | None], None], *, again: bool) -> None:
        self.parcel = parcel
        self.again = again
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
        self._inbox: Inbox | None = None
        self._unsettled: dict[_Queue, OrderedDict[_Arrival, None]] = {}
        self._closed = asyncio.Event()

    async def plan(self, topology: Topology) -> list[Change]:
        """Tell which groups there are not yet."""
        self._reach()
        return [
            Change("create", "group", f"{topology.app}.{one.topic.kind}.{one.topic.component} {one.group}")
            for one in topology.takes
            if (one.topic, one.group) not in self._broker.groups
        ]

    async def open(self, topology: Topology) -> None:
        """Make the groups and the inbox."""
        self._reach()
        self._broker.transports.append(self)
        for wanted in topology.takes:
            self._broker.group(wanted)
        if topology.inbox is not None:
            self._inbox = topology.inbox
            self._broker.inboxes[topology.inbox] = _Queue()

    async def publish(self, parcels: Sequence[tuple[Address, Parcel]]) -> None:
        """Hand parcels to the broker; waits while it is away."""
        await self._broker.reachable()
        for index, (address, parcel) in enumerate(parcels):
            if len(parcel.data) > self.largest:
                raise ParcelRefusedError(index, f"{len(parcel.data)} bytes are more than {self.largest}")
            self._broker.take(address, parcel)
        await asyncio.sleep(0)
        self._reach()

    async def subscribe(self, wanted: Subscribing, *, prefetch: int) -> AsyncIterator[_Arrival]:
        """Yield what comes for a group."""
        queue = self._broker.group(wanted)
        async for arrival in self._arrivals(queue, prefetch):
            yield arrival

    async def listen(self, inbox: Inbox) -> AsyncIterator[_Arrival]:
        """Yield what comes to the inbox."""
        async for arrival in self._arrivals(self._broker.inboxes[inbox], None):
            yield arrival

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
        for changed in self._watchers:
            changed(True, "")  # noqa: FBT003 (the protocol's own form)

    async def close(self) -> None:
        """Give everything back and go."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._give_back()
        if self in self._broker.transports:
            self._broker.transports.remove(self)
        inbox = None if self._inbox is None else self._broker.inboxes.pop(self._inbox, None)
        for queue in (*self._broker.groups.values(), *([] if inbox is None else [inbox])):
            queue.grown.set()

    def _reach(self) -> None:
        if self._broker.away:
            raise TransportUnavailableError(_NAME, "it is away")

    def _give_back(self) -> None:
        for queue, arrivals in self._unsettled.items():
            queue.put_back([arrival.parcel for arrival in arrivals])
            arrivals.clear()

    async def _arrivals(self, queue: _Queue, prefetch: int | None) -> AsyncIterator[_Arrival]:
        held = self._unsettled.setdefault(queue, OrderedDict())

        def over(arrival: _Arrival, reason: str | None) -> None:
            if arrival in held:
                del held[arrival]
                queue.grown.set()
                if reason is not None:
                    self._broker.refused.append((arrival.parcel, reason))

        while not self._closed.is_set():
            if self._broker.away or not queue.waiting or (prefetch is not None and len(held) >= prefetch):
                queue.grown.clear()
                await self._either(queue)
                continue
            parcel, again = queue.waiting.popleft()
            arrival = _Arrival(parcel, over, again=again)
            if prefetch is not None:
                held[arrival] = None
            yield arrival

    async def _either(self, queue: _Queue) -> None:
        if self._broker.away:
            await self._broker.reachable()
        else:
            await queue.grown.wait()
