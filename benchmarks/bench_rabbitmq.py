"""RabbitMQ: parcels sent, confirmed, taken and settled, and round trips, beside aio-pika and FastStream on the same broker.

The measure does by hand what the transport does: a persistent message with a dozen headers goes to a quorum queue with one active consumer,
is confirmed, taken and acknowledged; an answer goes to a queue of the asker. It has one connection for each end, as the
transport has, hands a message to a callback, and mends nothing. FastStream does the same by its `publish` and `request`.
`apart` measures whole applications.

Both ends run in one loop, and time is real time, since most of it is the broker's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from benchmarks.rounds import Budget, Contestant, Stopwatch, measure, peer, report
from microlith.ids import new_id
from microlith.transports import Inbox, Parcel, Subscribing, Topic, Topology, make_transport
from tests.servers.rabbitmq import RabbitMQ

BATCH = 100
PREFETCH = 200
SETTINGS: dict[str, Any] = {"x-queue-type": "quorum", "x-single-active-consumer": True}
DATA = b'{"order_id":"01890a5d-ac96-774b-bcce-b302099a8057","copies":3,"email":"somebody@example.org"}'
COMMANDS, INBOX = Topic("command", "orders"), Inbox("asker")

Do = Callable[[int], Awaitable[Any]]


def attributes(number: int) -> dict[str, str]:
    """Make what every parcel says of itself."""
    message_id = new_id()
    return {
        "specversion": "1.0",
        "id": message_id,
        "source": "/bench/orders",
        "type": "PlaceOrder",
        "time": "2024-02-29T12:00:00.123456Z",
        "datacontenttype": "application/json",
        "correlationid": message_id,
        "partitionkey": f"order-{number % 50}",
        "component": "orders",
        "dataversion": "1",
        "depth": "0",
        "process": "bench",
    }


async def all_of(do: Do, items: int, at_a_time: int, done: Callable[[], bool]) -> float:
    """Do something so often, so many at a time, and wait until all is done; return seconds for each."""
    watch = Stopwatch(wall=True)
    numbers = iter(range(items))

    async def some() -> None:
        for number in numbers:
            await do(number)

    await asyncio.gather(*(some() for _ in range(at_a_time)))
    while not done():  # noqa: ASYNC110 (an event for each item would be measured, too)
        await asyncio.sleep(0.001)
    return watch.each(items)


async def microlith(url: str, way: str, items: int, at_a_time: int) -> float:
    """Use the transport."""
    app = f"bench-{new_id()}"
    wanted = Subscribing(COMMANDS, "orders")
    sender, taker = make_transport(url), make_transport(url)
    await taker.open(Topology(app, takes=(wanted,)))
    await sender.open(Topology(app, sends=(COMMANDS,), inbox=INBOX))
    taken = 0
    waiting: dict[str, asyncio.Future[bytes]] = {}

    def made(number: int) -> tuple[Topic, Parcel]:
        named = attributes(number)
        return COMMANDS, Parcel(named, DATA, named["partitionkey"])

    async def answer(question: Parcel) -> None:
        told = {**question.attributes, "id": new_id()}
        await taker.publish([(INBOX, Parcel(told, DATA))])

    async def take() -> None:
        nonlocal taken
        async with asyncio.TaskGroup() as answering:
            async for arrival in taker.subscribe(wanted, prefetch=PREFETCH):
                if way == "ask":
                    answering.create_task(answer(arrival.parcel))
                arrival.settle()
                taken += 1

    async def hear() -> None:
        async for arrival in sender.listen(INBOX):
            waiting.pop(arrival.parcel.attributes["correlationid"]).set_result(arrival.parcel.data)

    async def send(number: int) -> None:
        await sender.publish([made(number)])

    async def send_batch(number: int) -> None:
        await sender.publish([made(number + at) for at in range(BATCH)])

    async def ask(number: int) -> None:
        question = made(number)
        future = waiting[question[1].attributes["correlationid"]] = asyncio.get_running_loop().create_future()
        await sender.publish([question])
        await future

    each = BATCH if way == "batch" else 1
    ways: dict[str, Do] = {"send": send, "batch": send_batch, "ask": ask}
    tasks = [asyncio.create_task(take()), asyncio.create_task(hear())]
    took = await all_of(ways[way], items // each, at_a_time, lambda: taken == items // each * each) / each
    await taker.close()
    await sender.close()
    await asyncio.gather(*tasks)
    return took


async def bare(url: str, way: str, items: int, at_a_time: int) -> float:
    """Use aio-pika by hand."""
    import aio_pika  # noqa: PLC0415 (a peer)
    from aio_pika.abc import AbstractIncomingMessage  # noqa: PLC0415 (a peer)

    amqp = url.replace("rabbitmq:", "amqp:", 1)
    async with await aio_pika.connect(amqp) as taking, await aio_pika.connect(amqp) as sending:
        there, here = await taking.channel(), await sending.channel()
        await there.set_qos(PREFETCH)
        orders = await there.declare_queue(f"bare-{new_id()}", durable=True, arguments=SETTINGS)
        answers = await here.declare_queue(exclusive=True)
        taken = 0
        waiting: dict[str, asyncio.Future[bytes]] = {}

        def made(number: int) -> aio_pika.Message:
            named = attributes(number)
            return message(named, reply_to=answers.name)

        def message(named: dict[str, str], reply_to: str | None = None) -> aio_pika.Message:
            return aio_pika.Message(
                DATA,
                headers={f"ce-{name}": value for name, value in named.items() if name != "datacontenttype"},
                content_type=named["datacontenttype"],
                message_id=named["id"],
                correlation_id=named["correlationid"],
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                reply_to=reply_to,
            )

        async def take(came: AbstractIncomingMessage) -> None:
            nonlocal taken
            named = {name[3:]: str(value) for name, value in came.headers.items()}
            if way == "ask":
                answer = message({**named, "id": new_id(), "datacontenttype": came.content_type or ""})
                await there.default_exchange.publish(answer, came.reply_to or "")
            await came.ack()
            taken += 1

        async def hear(came: AbstractIncomingMessage) -> None:
            waiting.pop(str(came.headers["ce-correlationid"])).set_result(came.body)

        async def send(number: int) -> None:
            await here.default_exchange.publish(made(number), orders.name)

        async def send_batch(number: int) -> None:
            await asyncio.gather(*(send(number + at) for at in range(BATCH)))

        async def ask(number: int) -> None:
            question = made(number)
            future = waiting[question.correlation_id or ""] = asyncio.get_running_loop().create_future()
            await here.default_exchange.publish(question, orders.name)
            await future

        await orders.consume(take)
        await answers.consume(hear, no_ack=True)
        each = BATCH if way == "batch" else 1
        ways: dict[str, Do] = {"send": send, "batch": send_batch, "ask": ask}
        took = await all_of(ways[way], items // each, at_a_time, lambda: taken == items // each * each) / each
        await orders.delete(if_unused=False, if_empty=False)
        return took


async def faststream(rabbit: Any, url: str, way: str, items: int, at_a_time: int) -> float:
    """Use FastStream."""
    broker = rabbit.RabbitBroker(url.replace("rabbitmq:", "amqp:", 1), logger=None)
    single = {"x-single-active-consumer": True}
    queue = rabbit.RabbitQueue(f"faststream-{new_id()}", rabbit.QueueType.QUORUM, durable=True, arguments=single)
    taken = 0

    async def take(message: dict[str, Any]) -> dict[str, Any]:
        nonlocal taken
        taken += 1
        return message

    broker.subscriber(queue, channel=rabbit.Channel(prefetch_count=PREFETCH))(take)
    async with broker:
        await broker.start()

        async def send(number: int, do: Callable[..., Awaitable[Any]] = broker.publish, **also: Any) -> None:
            named = attributes(number)
            headers = {f"ce-{name}": value for name, value in named.items()}
            same = {"message_id": named["id"], "correlation_id": named["correlationid"], "persist": True}
            await do(DATA, queue, headers=headers, **same, **also)

        async def ask(number: int) -> None:
            await send(number, broker.request, timeout=30)

        return await all_of({"send": send, "ask": ask}[way], items, at_a_time, lambda: taken == items)


WAYS = {
    "one way, 1": ("send", 1, "sent one after the other, each confirmed"),
    "one way, 100": ("send", 100, "100 under way, each confirmed"),
    "batches": ("batch", 1, f"{BATCH} in a batch, as outboxes send"),
    "round trip, 1": ("ask", 1, "one after the other"),
    "round trip, 100": ("ask", 100, "100 in flight"),
}
BUDGETS: Sequence[Budget] = tuple(Budget(f"microlith, {name}", f"aio-pika, {name}", 0.8) for name in WAYS)


def contestants(url: str, items: int) -> list[Contestant]:
    """Each, in each way; FastStream sends no batches."""
    rabbit = peer("faststream.rabbit")

    def run(of: Callable[..., Any], *given: Any) -> Callable[[], float]:
        return lambda: asyncio.run(of(*given))

    field = []
    for name, (way, at_a_time, note) in WAYS.items():
        some = max(items // 20, 100) if at_a_time == 1 and way != "batch" else items
        field += [
            Contestant(f"aio-pika, {name}", run(bare, url, way, some, at_a_time), note),
            Contestant(f"microlith, {name}", run(microlith, url, way, some, at_a_time)),
        ]
        if rabbit is not None and way != "batch":
            field.append(Contestant(f"faststream, {name}", run(faststream, rabbit, url, way, some, at_a_time)))
    return field


def main(*, quick: bool, rounds: int) -> bool:
    """Run and report; tell whether the budgets are kept."""
    items = 1_000 if quick else 4_000
    with suppress(KeyboardInterrupt), RabbitMQ() as server:
        field = contestants(server.create_vhost("bench"), items)
        results = measure(field, rounds)
        return report(f"Parcels over RabbitMQ, {items:,} of them", field, results, "aio-pika, one way, 100", BUDGETS)
    return False
