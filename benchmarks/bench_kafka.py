"""Kafka: parcels one way, and questions with their answers, over a real broker on this machine.

The measure is the bare client of confluent-kafka with as little around it as asyncio allows: one thread that polls the
producer and settles futures, one that polls each consumer and hands batches to the loop. It sends the same records with
the same settings, waits for the same acknowledgements and commits as often. microlith also settles each parcel by itself,
keeps to a bound of what is out, filters inboxes, and gives up partitions in order.

A question goes to a topic of commands, and its answer to the inbox of whoever asked. Both sides run in this process; real
time is measured, and the broker has its share of it. FastStream does the same on the same broker.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import Any
from uuid import uuid4

from benchmarks import kafka_faststream
from benchmarks.rounds import Budget, Contestant, Stopwatch, measure, peer, report
from microlith.transports import Inbox, Parcel, Subscribing, Topic, Topology, make_transport
from tests.servers.kafka import Kafka
from tests.servers.server import ServerMissingError

IN_FLIGHT = 100
PREFETCH = 500
WORK = Topic("command", "stock")
HANDLING = Subscribing(WORK, "stock")
PRODUCING: Mapping[str, Any] = {
    "enable.idempotence": True,
    "acks": "all",
    "linger.ms": 1,
    "partitioner": "murmur2_random",
    "socket.nagle.disable": True,
}
CONSUMING: Mapping[str, Any] = {
    "group.protocol": "consumer",
    "enable.auto.commit": True,
    "auto.commit.interval.ms": 500,
    "auto.offset.reset": "earliest",
    "fetch.wait.max.ms": 200,
    "socket.nagle.disable": True,
}

_numbers = count()


def parcel(number: int, reply_to: str = "") -> Parcel:
    """Make a parcel as an application does."""
    name = f"01890a5d-ac96-774b-bcce-{next(_numbers):012d}"
    key = f"order-{number % 64}"
    attributes = {
        "specversion": "1.0",
        "id": name,
        "source": "/shop/stock",
        "type": "stock.CountCommand",
        "datacontenttype": "application/json",
        "time": "2026-02-28T12:00:00.123456Z",
        "correlationid": name,
        "partitionkey": key,
        "component": "stock",
    }
    if reply_to:
        attributes["replyto"] = reply_to
    return Parcel(attributes, b'{"shelf": 12, "book": "978-3-16-148410-0", "count": 3, "note": "as asked"}', key)


class Bare:
    """The bare client: one producer, consumers, and the threads that poll them."""

    def __init__(self, kafka: Any, bootstrap: str) -> None:
        self._kafka = kafka
        self._bootstrap = bootstrap
        self._loop = asyncio.get_running_loop()
        self._ends = False
        self._threads: list[threading.Thread] = []
        self._done: list[asyncio.Future[None]] = []
        self._producer = kafka.Producer({"bootstrap.servers": bootstrap, **PRODUCING})
        self._run(self._poll)

    async def send(self, topic: str, one: Parcel, key: str) -> None:
        """Send one record, and return when it is acknowledged."""
        future: asyncio.Future[None] = self._loop.create_future()
        headers = [(f"ce_{name}", value.encode()) for name, value in one.attributes.items()]
        self._producer.produce(topic, one.data, key, headers=headers, on_delivery=partial(self._delivered, future))
        await future

    def take(self, topic: str, group: str, handle: Callable[[Sequence[Any]], None]) -> None:
        """Have batches of records handed over on the loop."""
        self._run(partial(self._consume, topic, group, handle))

    async def close(self) -> None:
        """End the threads."""
        self._ends = True
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _run(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work)
        self._threads.append(thread)
        thread.start()

    def _delivered(self, future: asyncio.Future[None], error: Any, _message: Any) -> None:
        assert error is None
        self._done.append(future)

    def _poll(self) -> None:
        while not self._ends:
            self._producer.poll(0.1)
            if self._done:
                done, self._done = self._done, []
                self._loop.call_soon_threadsafe(_resolve, done)

    def _consume(self, topic: str, group: str, handle: Callable[[Sequence[Any]], None]) -> None:
        consumer = self._kafka.Consumer({"bootstrap.servers": self._bootstrap, "group.id": group, **CONSUMING})
        consumer.subscribe([topic])
        while not self._ends:
            first = consumer.poll(0.1)
            if first is not None:
                self._loop.call_soon_threadsafe(handle, [first, *consumer.consume(PREFETCH - 1, 0)])
        consumer.close()


def _resolve(futures: Sequence[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


class Corner:
    """What one run needs at the broker: topics of its own, with what all contestants have."""

    def __init__(self, server: Kafka) -> None:
        self.server = server
        self.app = f"bench-{uuid4().hex[:8]}"

    @property
    def url(self) -> str:
        """Where the transport goes."""
        return f"{self.server.url}?partitions=4&inbox_partitions=4"


@asynccontextmanager
async def transports(corner: Corner, inbox: Inbox | None = None) -> AsyncIterator[tuple[Any, Any]]:
    """Open a transport that sends, and one that takes."""
    sender, taker = make_transport(corner.url), make_transport(corner.url)
    await taker.open(Topology(corner.app, (), (HANDLING,)))
    await sender.open(Topology(corner.app, (WORK,), (), inbox))
    yield sender, taker
    await sender.close()
    await taker.close()


async def all_of(work: Callable[[int], Awaitable[Any]], items: int, at_a_time: int) -> None:
    """Do something for each number, so many at a time."""

    async def worker(first: int) -> None:
        for number in range(first, items, at_a_time):
            await work(number)

    await asyncio.gather(*[worker(first) for first in range(at_a_time)])


async def microlith_one_way(corner: Corner, items: int) -> float:
    """Send commands, and take and settle all of them."""
    async with transports(corner) as (sender, taker):
        came = asyncio.Event()
        left = items + 1

        async def take() -> None:
            nonlocal left
            async for arrival in taker.subscribe(HANDLING, prefetch=PREFETCH):
                arrival.settle()
                left -= 1
                if left in (0, items):
                    came.set()

        taking = asyncio.create_task(take())
        await sender.publish([(WORK, parcel(0))])
        await came.wait()
        came.clear()
        watch = Stopwatch(wall=True)
        await all_of(lambda number: sender.publish([(WORK, parcel(number))]), items, IN_FLIGHT)
        await came.wait()
        took = watch.each(items)
        taking.cancel()
    return took


async def bare_one_way(corner: Corner, items: int) -> float:
    """The same with the bare client."""
    async with transports(corner):
        pass  # makes the topics
    kafka = peer("confluent_kafka")
    topic = f"{corner.app}.commands.stock"
    sender, taker = Bare(kafka, corner.server.bootstrap), Bare(kafka, corner.server.bootstrap)
    came = asyncio.Event()
    left = items + 1

    def handle(messages: Sequence[Any]) -> None:
        nonlocal left
        for message in messages:
            {name: value.decode() for name, value in message.headers()}
            left -= 1
            if left in (0, items):
                came.set()

    async def send(number: int) -> None:
        one = parcel(number)
        await sender.send(topic, one, one.key)

    taker.take(topic, f"{topic}.bare", handle)
    await send(0)
    await came.wait()
    came.clear()
    watch = Stopwatch(wall=True)
    await all_of(send, items, IN_FLIGHT)
    await came.wait()
    took = watch.each(items)
    await sender.close()
    await taker.close()
    return took


async def microlith_round_trip(corner: Corner, items: int, at_a_time: int) -> float:
    """Ask, and wait for the answer in the inbox."""
    inbox = Inbox("asker-1")
    async with transports(corner, inbox) as (asker, answerer):
        waiting: dict[str, asyncio.Future[None]] = {}

        async def answer() -> None:
            async with asyncio.TaskGroup() as answers:
                async for arrival in answerer.subscribe(HANDLING, prefetch=PREFETCH):
                    answers.create_task(reply(arrival))

        async def reply(arrival: Any) -> None:
            await answerer.publish([(Inbox(arrival.parcel.attributes["replyto"]), arrival.parcel)])
            arrival.settle()

        async def hear() -> None:
            async for arrival in asker.listen(inbox):
                waiting.pop(arrival.parcel.attributes["id"]).set_result(None)

        async def ask(number: int) -> None:
            one = parcel(number, inbox.name)
            answered = waiting[one.attributes["id"]] = asyncio.get_running_loop().create_future()
            await asker.publish([(WORK, one)])
            await answered

        tasks = [asyncio.create_task(answer()), asyncio.create_task(hear())]
        await ask(0)
        watch = Stopwatch(wall=True)
        await all_of(ask, items, at_a_time)
        took = watch.each(items)
        for task in tasks:
            task.cancel()
    return took


async def bare_round_trip(corner: Corner, items: int, at_a_time: int) -> float:
    """The same with the bare client."""
    async with transports(corner):
        pass  # makes the topics
    kafka = peer("confluent_kafka")
    topic, inbox = f"{corner.app}.commands.stock", f"{corner.app}.inbox"
    asker, answerer = Bare(kafka, corner.server.bootstrap), Bare(kafka, corner.server.bootstrap)
    waiting: dict[str, asyncio.Future[None]] = {}
    answers: set[asyncio.Task[None]] = set()

    def answer(messages: Sequence[Any]) -> None:
        for message in messages:
            attributes = {name[3:]: value.decode() for name, value in message.headers()}
            one = Parcel(attributes, message.value(), "")
            task = asyncio.create_task(answerer.send(inbox, one, attributes["replyto"]))
            answers.add(task)
            task.add_done_callback(answers.discard)

    def hear(messages: Sequence[Any]) -> None:
        for message in messages:
            attributes = {name[3:]: value.decode() for name, value in message.headers()}
            waiting.pop(attributes["id"]).set_result(None)

    async def ask(number: int) -> None:
        one = parcel(number, "asker-1")
        answered = waiting[one.attributes["id"]] = asyncio.get_running_loop().create_future()
        await asker.send(topic, one, one.key)
        await answered

    answerer.take(topic, f"{topic}.bare", answer)
    asker.take(inbox, f"{inbox}.bare", hear)
    await ask(0)
    watch = Stopwatch(wall=True)
    await all_of(ask, items, at_a_time)
    took = watch.each(items)
    await asker.close()
    await answerer.close()
    return took


async def faststream(module: Any, corner: Corner, items: int, at_a_time: int, answered: int) -> float:
    """The same with FastStream."""
    async with transports(corner):
        pass  # makes the topics
    topics = (f"{corner.app}.commands.stock", f"{corner.app}.inbox")
    return await kafka_faststream.run(
        module, corner.server.bootstrap, topics, parcel, all_of, items, at_a_time, answered=bool(answered)
    )


def contestants(server: Kafka, items: int) -> list[Contestant]:
    """Everyone who can run here."""

    def run(way: Callable[..., Coroutine[Any, Any, float]], *how: int) -> Callable[[], float]:
        return lambda: asyncio.run(way(Corner(server), *how))

    few = max(items // 50, 100)
    field = [
        Contestant("bare, one way", run(bare_one_way, items), f"{IN_FLIGHT} sent at a time"),
        Contestant("microlith, one way", run(microlith_one_way, items), f"{IN_FLIGHT} sent at a time, each settled"),
        Contestant("bare, round trip", run(bare_round_trip, items // 2, IN_FLIGHT), f"{IN_FLIGHT} in flight"),
        Contestant("microlith, round trip", run(microlith_round_trip, items // 2, IN_FLIGHT), f"{IN_FLIGHT} in flight"),
        Contestant("bare, one at a time", run(bare_round_trip, few, 1), "round trips"),
        Contestant("microlith, one at a time", run(microlith_round_trip, few, 1), "round trips"),
    ]
    module = peer("faststream.confluent")
    if module is not None:
        work = partial(faststream, module)
        field += [
            Contestant("faststream, one way", run(work, items // 4, IN_FLIGHT, 0)),
            Contestant("faststream, round trip", run(work, items // 8, IN_FLIGHT, 1)),
            Contestant("faststream, one at a time", run(work, few, 1, 1)),
        ]
    return field


BUDGETS: Sequence[Budget] = (
    Budget("microlith, one way", "bare, one way", 0.8),
    Budget("microlith, round trip", "bare, round trip", 0.8),
    Budget("microlith, one at a time", "bare, one at a time", 0.8),
)


def main(*, quick: bool, rounds: int) -> bool:
    """Run and report; tell whether the budgets are kept."""
    if peer("confluent_kafka") is None:
        return True
    try:
        server = Kafka(jvm=())
    except ServerMissingError as missing:
        print(f"  without Kafka: {missing}")
        return True
    items = 4_000 if quick else 20_000
    with server:
        field = contestants(server, items)
        results = measure(field, rounds)
    return report(f"Kafka, {items:,} parcels, real time", field, results, "bare, one way", BUDGETS)
