"""Round trips between two applications: a query is asked in one and answered in the other, over RabbitMQ.

The measure is the same written by hand with aio-pika: a queue for questions, one for answers, and a dictionary of futures. It
confirms what it sends, as microlith does, and has no time limit, no trace, no check of what arrives and no types.
FastStream's `request` is the peer. All run both ends in one loop, and time is real time, since most of it is the broker's.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from benchmarks.rounds import Budget, Contestant, Stopwatch, measure, peer, report
from microlith import Component, Microlith, Query, Response
from microlith.ids import new_id
from tests.servers.rabbitmq import RabbitMQ

IN_FLIGHT = (1, 100)

Ask = Callable[[int], Awaitable[Any]]


class Sum(Response):
    """What its handler returns."""

    n: int


class Add(Query[Sum]):
    """A small question."""

    n: int


async def all_round_trips(ask: Ask, items: int, in_flight: int) -> float:
    """Ask, so many at a time; return seconds for each."""
    await ask(0)
    watch = Stopwatch(wall=True)
    numbers = iter(range(items))

    async def some() -> None:
        for number in numbers:
            await ask(number)

    await asyncio.gather(*(some() for _ in range(in_flight)))
    return watch.each(items)


async def microlith(url: str, items: int, in_flight: int) -> float:
    """Ask one application in another."""

    def adding() -> list[Component]:
        component = Component("adding")

        @component.handles(Add)
        async def add(query: Add) -> Sum:
            return Sum(n=query.n + 1)

        return [component, Component("asking")]

    buses = {"query": url}
    async with (
        Microlith("bench", adding(), store="memory:", buses=buses, runs=["adding"]),
        Microlith("bench", adding(), store="memory:", buses=buses, runs=["asking"]) as asking,
    ):

        async def ask(number: int) -> None:
            await asking.query_bus.ask(Add(n=number))

        return await all_round_trips(ask, items, in_flight)


async def bare(url: str, items: int, in_flight: int) -> float:
    """Use aio-pika by hand."""
    import aio_pika  # noqa: PLC0415 (a peer)
    from aio_pika.abc import AbstractIncomingMessage  # noqa: PLC0415 (a peer)

    amqp = url.replace("rabbitmq:", "amqp:", 1)
    async with await aio_pika.connect(amqp) as answering, await aio_pika.connect(amqp) as asking:
        there, here = await answering.channel(), await asking.channel()
        questions = await there.declare_queue(f"bare-{new_id()}", auto_delete=True)
        answers = await here.declare_queue(exclusive=True)
        futures: dict[str, asyncio.Future[Sum]] = {}

        async def answer(message: AbstractIncomingMessage) -> None:
            body = json.dumps({"n": json.loads(message.body)["n"] + 1}).encode()
            reply = aio_pika.Message(body, correlation_id=message.correlation_id)
            await there.default_exchange.publish(reply, message.reply_to or "")

        async def take(message: AbstractIncomingMessage) -> None:
            future = futures.pop(message.correlation_id or "")
            future.set_result(Sum.model_validate_json(message.body))

        await questions.consume(answer, no_ack=True)
        await answers.consume(take, no_ack=True)

        async def ask(number: int) -> None:
            correlation_id = new_id()
            future = futures[correlation_id] = asyncio.get_running_loop().create_future()
            body = Add(n=number).model_dump_json().encode()
            question = aio_pika.Message(body, correlation_id=correlation_id, reply_to=answers.name)
            await here.default_exchange.publish(question, questions.name)
            await future

        return await all_round_trips(ask, items, in_flight)


async def faststream(rabbit: Any, url: str, items: int, in_flight: int) -> float:
    """Use FastStream's `request`."""
    broker = rabbit.RabbitBroker(url.replace("rabbitmq:", "amqp:", 1), logger=None)
    queue = rabbit.RabbitQueue(f"faststream-{new_id()}", auto_delete=True)

    async def add(query: Add) -> Sum:
        return Sum(n=query.n + 1)

    broker.subscriber(queue)(add)

    async with broker:
        await broker.start()

        async def ask(number: int) -> Any:
            return await broker.request(Add(n=number), queue, timeout=30)

        return await all_round_trips(ask, items, in_flight)


def contestants(url: str, items: int) -> list[Contestant]:
    """Each way, with each number in flight."""
    rabbit = peer("faststream.rabbit")

    def run(way: Callable[..., Any], *given: Any) -> Callable[[], float]:
        return lambda: asyncio.run(way(*given))

    field = []
    for in_flight in IN_FLIGHT:
        some = max(items * in_flight // IN_FLIGHT[-1], items // 5)
        field += [
            Contestant(f"aio-pika, {in_flight}", run(bare, url, some, in_flight), "a dict of futures, by hand"),
            Contestant(f"microlith, {in_flight}", run(microlith, url, some, in_flight), "ask"),
        ]
        if rabbit is not None:
            ways = run(faststream, rabbit, url, some, in_flight)
            field.append(Contestant(f"faststream, {in_flight}", ways, "request"))
    return field


BUDGETS: Sequence[Budget] = (
    Budget("microlith, 100", "aio-pika, 100", 0.8),
    Budget("microlith, 100", "faststream, 100", 4),
)


def main(*, quick: bool, rounds: int) -> bool:
    """Run and report; tell whether the budgets are kept."""
    items = 1_000 if quick else 3_000
    with suppress(KeyboardInterrupt), RabbitMQ() as server:
        url = server.create_vhost("bench")
        field = contestants(url, items)
        results = measure(field, rounds)
        return report(f"Round trips over RabbitMQ, {items:,} of them", field, results, "aio-pika, 100", BUDGETS)
    return False
