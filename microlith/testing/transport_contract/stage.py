"""What the contract of transports is tested on: a broker, an application's name, and who sends and takes.

Waits on conditions, bounded; where a test says that something does not come, it waits for what was sent behind it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from time import monotonic
from typing import NamedTuple, Protocol
from uuid import uuid4

from microlith.transports import (
    Address,
    Arrival,
    Inbox,
    Parcel,
    Subscribing,
    Topic,
    Topology,
    Transport,
    TransportUnavailableError,
)

PATIENCE = 60.0
"""Seconds that anything may take; a broker that starts again takes some, and one with a slow disk many."""

COMMANDS = Topic("command", "stock")
QUERIES = Topic("query", "stock")
EVENTS = Topic("event", "stock")
HANDLING = Subscribing(COMMANDS, "stock")
ANSWERING = Subscribing(QUERIES, "stock")

_numbers = count()


class Traits(NamedTuple):
    """What brokers may do differently. A suite says what holds for its own, and is tested for just that.

    Attributes:
        shares: Whether several of a group take at a time, each its keys; else one takes all, and the next when it goes.
        can_differ: Whether what is there can differ from what is needed, so that `open` refuses it.
        holds: Whether what was handed out is still held once a lost connection is back; else it comes again.
        keyed: Whether no other of the group gets a command while one has a command with the same key unsettled; else those
            that take at a time share commands regardless of their keys. Of events it never does.
    """

    shares: bool
    can_differ: bool
    holds: bool
    keyed: bool = True


class BrokerUnderTest(Protocol):
    """A broker that a test can reach, cut off, and look into."""

    def connect(self) -> Transport:
        """Make a transport to it, not opened."""
        ...

    async def go_away(self) -> None:
        """Cut all connections, and let nobody in."""
        ...

    async def come_back(self) -> None:
        """Let everybody in again, with what was kept."""
        ...

    async def refused(self, app: str) -> list[tuple[Parcel, str]]:
        """Return what was put aside for an application, with the reasons."""
        ...

    async def make_differ(self, topology: Topology) -> None:
        """Create something that the topology needs, with other settings. Only called where something can differ."""
        ...


def parcel(name: str, key: str = "", *, data: bytes = b"{}", **attributes: str) -> Parcel:
    """Make a parcel by its name, which is also its type unless another is given."""
    named = {
        "specversion": "1.0",
        "id": f"{name}-{next(_numbers)}",
        "source": "/contract",
        "type": name,
        "datacontenttype": "application/json",
        "time": "2024-02-29T12:00:00.123456Z",
        **({"partitionkey": key} if key else {}),
    }
    return Parcel({**named, **attributes}, data, key)


def sent_to(address: Address, *names: str, key: str = "A") -> list[tuple[Address, Parcel]]:
    """Address parcels, made by their names; with one key, since nothing else keeps them in order."""
    return [(address, parcel(name, key)) for name in names]


def in_time() -> asyncio.Timeout:
    """Bound what a test waits for."""
    return asyncio.timeout(PATIENCE)


async def until(
    condition: Callable[[], object], told: Callable[[], object] = lambda: "", *, pause: float = 0.002
) -> None:
    """Wait until a condition holds, looking again after pauses of some seconds.

    Raises:
        AssertionError: It did not hold in time; with what is told then.
    """
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline, f"not within {PATIENCE:g} s: {told()}"
        await asyncio.sleep(pause)


class Taking:
    """Takes what comes, in a task of its own.

    Attributes:
        arrivals: All that was handed out, in order.
    """

    def __init__(
        self, coming: AsyncIterator[Arrival], *, settles: bool, log: list[tuple["Taking", Arrival]] | None = None
    ) -> None:
        self.arrivals: list[Arrival] = []
        self._settles = settles
        self._log = log
        self._task = asyncio.create_task(self._take(coming))

    @property
    def types(self) -> list[str]:
        """The types of what came, which in most tests are the parcels' names."""
        return [arrival.parcel.attributes["type"] for arrival in self.arrivals]

    @property
    def ended(self) -> bool:
        """Whether the iteration has come to its end."""
        return self._task.done()

    async def until(self, number: int) -> list[Arrival]:
        """Wait until so many have come in all; return them."""
        return await self.when(lambda: len(self.arrivals) >= number)

    async def until_type(self, name: str) -> list[Arrival]:
        """Wait until one of a type has come; return all."""
        return await self.when(lambda: name in self.types)

    async def when(self, condition: Callable[[], bool]) -> list[Arrival]:
        """Wait until a condition holds; return all that has come by then."""
        await until(condition, lambda: f"{self.types[-50:]} came")
        return self.arrivals

    async def leave(self) -> None:
        """Leave the iteration."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _take(self, coming: AsyncIterator[Arrival]) -> None:
        async for arrival in coming:
            self.arrivals.append(arrival)
            if self._log is not None:
                self._log.append((self, arrival))
            if self._settles:
                arrival.settle()


def has_grown_to(log: list[tuple[Taking, Arrival]], size: int) -> bool:
    """Tell whether so many have come."""
    return len(log) >= size


class Stage:
    """Opens transports of one application to the broker under test, and closes what is still open at the end.

    Attributes:
        app: Name of the application: one that the broker has not heard of.
        broker: The broker.
    """

    def __init__(self, broker: BrokerUnderTest) -> None:
        self.app = f"shop-{uuid4().hex[:8]}"
        self.broker = broker
        self._opened: list[Transport] = []
        self._takings: list[Taking] = []

    def topology(
        self, *takes: Subscribing, sends: tuple[Topic, ...] = (), inbox: Inbox | None = None, app: str = ""
    ) -> Topology:
        """Return what one process of the application needs."""
        return Topology(app or self.app, sends, takes, inbox)

    async def open(
        self, *takes: Subscribing, sends: tuple[Topic, ...] = (), inbox: Inbox | None = None, app: str = ""
    ) -> Transport:
        """Open a transport of a process that sends and takes something."""
        transport = self.broker.connect()
        self._opened.append(transport)
        async with in_time():
            await transport.open(self.topology(*takes, sends=sends, inbox=inbox, app=app))
        return transport

    def take(
        self,
        transport: Transport,
        wanted: Subscribing | Inbox,
        *,
        prefetch: int = 10,
        settles: bool = True,
        log: list[tuple[Taking, Arrival]] | None = None,
    ) -> Taking:
        """Take what comes to a subscription, or to an inbox."""
        if isinstance(wanted, Inbox):
            coming = transport.listen(wanted)
        else:
            coming = transport.subscribe(wanted, prefetch=prefetch)
        taking = Taking(coming, settles=settles, log=log)
        self._takings.append(taking)
        return taking

    async def taking(
        self, wanted: Subscribing, *, prefetch: int = 10, settles: bool = True
    ) -> tuple[Transport, Taking]:
        """Open a transport of a process that takes one thing, and take it."""
        transport = await self.open(wanted)
        return transport, self.take(transport, wanted, prefetch=prefetch, settles=settles)

    async def close(self) -> None:
        """Close everything. The broker is to be back by then."""
        for transport in self._opened:
            async with in_time():
                await transport.close()
        for taking in self._takings:
            await taking.leave()


async def publish(transport: Transport, *parcels: tuple[Address, Parcel]) -> int:
    """Send parcels, again and again until the broker has taken them; return how often that failed."""
    async with in_time():
        for failed in count():
            with suppress(TransportUnavailableError):
                await transport.publish(parcels)
                return failed
            await asyncio.sleep(0)
    raise AssertionError("unreachable")


class Watching:
    """Notes what a transport tells of its connection.

    Attributes:
        told: All of it: whether it is there, and why not.
    """

    def __init__(self, transport: Transport) -> None:
        self.told: list[tuple[bool, str]] = []
        transport.watch(lambda there, why: self.told.append((there, why)))

    async def until(self, *, there: bool) -> None:
        """Wait until the last that was told is that it is there, or that it is lost."""
        await until(lambda: self.told and self.told[-1][0] is there, lambda: self.told)


@asynccontextmanager
async def away(broker: BrokerUnderTest) -> AsyncIterator[None]:
    """Have the broker away for a while."""
    await broker.go_away()
    try:
        yield
    finally:
        await broker.come_back()
