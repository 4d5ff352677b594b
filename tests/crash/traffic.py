"""Parcels that flow while something goes wrong, and the books that are kept about them.

Two processes send commands and events, two take the commands, and one of them the events; all of them here, in one loop, so
that the books never die. A batch that may not have been taken is sent again until it was. What is taken is in
hand for a moment, is then noted as done, and settled.
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

from microlith.transports import (
    Address,
    Arrival,
    Parcel,
    Subscribing,
    Topic,
    Topology,
    Transport,
    TransportUnavailableError,
)
from tests.eventually import eventually

COMMANDS, EVENTS = Topic("command", "stock"), Topic("event", "stock")
HANDLING, FOLLOWING = Subscribing(COMMANDS, "stock"), Subscribing(EVENTS, "orders")
PREFETCH = 20
BATCH = 10
PAUSE = 0.05
"""Seconds between two batches of one sender."""
AHEAD = 200
"""How far what is sent is ahead of what is done when it is sent more slowly."""
KEYS = ("AB", "CD")
"""Whose keys are whose, of the two senders."""

Connect = Callable[[], Transport]


class Books:
    """What was sent, confirmed and done.

    Attributes:
        sent: Parcels in the order in which each sender began with them.
        tries: How often each id was sent, to each topic.
        confirmed: Ids that the broker has confirmed.
        done: What each subscription has done with, in order; may have repetitions.
        fresh: How often each id came to each subscription without a word that it may have come before.
        again: How often something came with that word, to each subscription.
        losses: How often a process that takes has lost a connection.
    """

    def __init__(self) -> None:
        self.sent: list[Parcel] = []
        self.tries: Counter[str] = Counter()
        self.confirmed: set[str] = set()
        self.done: dict[Subscribing, list[str]] = defaultdict(list)
        self.fresh: dict[Subscribing, Counter[str]] = defaultdict(Counter)
        self.again: Counter[Subscribing] = Counter()
        self.losses = 0

    def check(self) -> None:
        """Compare what was done with what was sent."""
        keys = {parcel.attributes["id"]: parcel.key for parcel in self.sent}
        for wanted in (HANDLING, FOLLOWING):
            done = self.done[wanted]
            first = list(dict.fromkeys(done))
            lost = self.confirmed - set(first)
            assert not lost, f"{len(lost)} of {len(self.confirmed)} confirmed parcels are lost: {sorted(lost)[:5]}"
            assert set(first) <= set(keys), "something came that nobody has sent"
            for key in {*keys.values()}:
                expected = [name for name, of in keys.items() if of == key and name in set(first)]
                assert [name for name in first if keys[name] == key] == expected, f"the order of {key} is broken"
            too_often = {name: times for name, times in self.fresh[wanted].items() if times > self.tries[name]}
            assert not too_often, f"came more often than it was sent: {too_often}"
            allowed = self.losses * PREFETCH
            assert self.again[wanted] <= allowed, f"{self.again[wanted]} came again, {allowed} could be unsettled"

    @property
    def behind(self) -> int:
        """How much was confirmed and, by the slower subscription, not done yet; roughly, as something may be done twice."""
        return len(self.confirmed) - min(len(self.done[HANDLING]), len(self.done[FOLLOWING]))

    @property
    def progress(self) -> tuple[int, int, int]:
        """How much was confirmed, and done of each kind: grows as long as all is well."""
        return len(self.confirmed), len(self.done[HANDLING]), len(self.done[FOLLOWING])


class Traffic:
    """Sends and takes until it is told to end.

    Attributes:
        books: What happens.
    """

    def __init__(self, connect: Connect, app: str, seed: int) -> None:
        self.books = Books()
        self._connect = connect
        self._app = app
        self._chance = random.Random(seed)
        self._transports: list[Transport] = []
        self._sending: list[asyncio.Task[None]] = []
        self._taking: list[asyncio.Task[None]] = []
        self._ends = False

    async def start(self) -> None:
        """Open all transports, and begin."""
        takers = [await self._open(HANDLING, FOLLOWING), await self._open(HANDLING)]
        senders = [await self._open() for _ in KEYS]
        self._taking = [
            asyncio.create_task(self._take(taker.subscribe(wanted, prefetch=PREFETCH), wanted))
            for taker, wanted in ((takers[0], HANDLING), (takers[0], FOLLOWING), (takers[1], HANDLING))
        ]
        self._sending = [asyncio.create_task(self._send(*pair)) for pair in zip(senders, KEYS, strict=True)]

    async def goes_on(self, seconds: float) -> float:
        """Wait until more is confirmed and done, of everything; return how long that took.

        Raises:
            AssertionError: It did not go on in that time.
        """
        began, before = monotonic(), self.books.progress
        while not all(now > then for now, then in zip(self.books.progress, before, strict=True)):
            assert monotonic() < began + seconds, (
                f"it did not go on within {seconds:g} s: {before}, {self.books.progress}"
            )
            for task in (*self._sending, *self._taking):
                if task.done():
                    task.result()
            await asyncio.sleep(0.005)
        return monotonic() - began

    async def end(self, quiet: float) -> None:
        """Send no more, wait until all was done that was confirmed, and check the books.

        What has not come when nothing at all has come for some seconds is lost.
        """
        self._ends = True
        async with asyncio.timeout(60):
            await asyncio.gather(*self._sending)
        while not all(self.books.confirmed <= set(done) for done in self.books.done.values()):
            before = self.books.progress
            try:
                await eventually(lambda: self.books.progress != before, quiet)  # noqa: B023 (called before it changes)
            except AssertionError:
                break  # the books say better what is missing
        self.books.check()

    async def close(self) -> None:
        """Close all transports; what takes ends by itself then."""
        for task in self._sending:
            task.cancel()
        async with asyncio.timeout(30):
            await asyncio.gather(*self._sending, return_exceptions=True)
            await asyncio.gather(*(transport.close() for transport in self._transports))
            await asyncio.gather(*self._taking)

    async def _open(self, *takes: Subscribing) -> Transport:
        transport = self._connect()
        await transport.open(Topology(self._app, (COMMANDS, EVENTS), takes))
        if takes:
            transport.watch(self._note)
        self._transports.append(transport)
        return transport

    def _note(self, there: bool, _why: str) -> None:
        self.books.losses += not there

    async def _send(self, transport: Transport, keys: str) -> None:
        number = 0
        while not self._ends:
            new = [self._parcel(keys[at % len(keys)], number + at) for at in range(BATCH)]
            number += BATCH
            self.books.sent += new
            batch: list[tuple[Address, Parcel]] = [(to, parcel) for parcel in new for to in (COMMANDS, EVENTS)]
            while True:
                self.books.tries.update(parcel.attributes["id"] for parcel in new)
                try:
                    await transport.publish(batch)
                    break
                except TransportUnavailableError:
                    await asyncio.sleep(0)
            self.books.confirmed.update(parcel.attributes["id"] for parcel in new)
            await asyncio.sleep(PAUSE if self.books.behind < AHEAD else 10 * PAUSE)

    def _parcel(self, key: str, number: int) -> Parcel:
        attributes = {
            "specversion": "1.0",
            "id": f"{key}{number}",
            "source": "/crash",
            "type": "Counted",
            "datacontenttype": "text/plain",
            "partitionkey": key,
        }
        return Parcel(attributes, b"x" * self._chance.randrange(2000), key)

    async def _take(self, coming: AsyncIterator[Arrival], wanted: Subscribing) -> None:
        async for arrival in coming:
            name = arrival.parcel.attributes["id"]
            if arrival.again:
                self.books.again[wanted] += 1
            else:
                self.books.fresh[wanted][name] += 1
            await asyncio.sleep(self._chance.choice((0, 0, 0.001, 0.01)))
            self.books.done[wanted].append(name)
            arrival.settle()


@asynccontextmanager
async def traffic(connect: Connect, app: str, seed: int) -> AsyncIterator[Traffic]:
    """Have parcels flow; leave nothing of it."""
    before = asyncio.all_tasks()
    flowing = Traffic(connect, app, seed)
    try:
        await flowing.start()
        yield flowing
    finally:
        await flowing.close()
    await eventually(lambda: asyncio.all_tasks() <= before, 10)


def open_files() -> int:
    """Count what this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
