"""Processes that share a store: commands a second of one, two and three of them, beside one that owns its store.

A command's handler waits, or computes, for five milliseconds, one message at a time in each process, and returns an event;
both are committed to a PostgreSQL that waits for its disk. What one process costs more with `shared=yes` is what sharing
costs; what several are quicker is what it is for. They compete for the processors of this machine with the broker, the
database and the sender.

Time is real time, from the first command that is sent to the last one committed. Starting is not measured.
"""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from time import perf_counter

import psycopg

from benchmarks.rounds import Contestant, measure, report
from benchmarks.shared_worker import Compute, Wait, application
from microlith import Command
from microlith.event_store.postgres.place import Place
from microlith.ids import new_id
from tests.servers.kafka import Kafka
from tests.servers.postgres import Postgres
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.server import ServerMissingError

PARTITIONS = 12
WORK: dict[str, Callable[[int], Command]] = {"waits": lambda n: Wait(n=n), "computes": lambda n: Compute(n=n)}
PROCESSES = (1, 2, 3)


class Workers:
    """Processes of one application; gone when the stack is closed."""

    def __init__(self, stack: ExitStack, count: int, *arguments: str) -> None:
        self._processes = []
        for _ in range(count):
            command = [sys.executable, "-m", "benchmarks.shared_worker", *arguments]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.callback(_end, process)
            self._processes.append(process)
        self.wait_for_all()

    def wait_for_all(self) -> None:
        """Wait for the next word of each."""
        for process in self._processes:
            if process.stdout is None or not process.stdout.readline():
                raise RuntimeError("a worker has ended")


def _end(process: subprocess.Popen[str]) -> None:
    with process:
        if process.stdin is not None:
            process.stdin.close()
        process.wait(60)


async def handled(broker: str, store: str, count: int, work: str, items: int) -> float:
    """Have so many processes handle commands; return seconds for each."""
    name = f"bench-{new_id()}"
    place = Place.of(store)
    with ExitStack() as stack:
        workers = await asyncio.to_thread(Workers, stack, count, broker, store, name)
        log = stack.enter_context(psycopg.connect(place.url, autocommit=True))

        async def until(committed: int) -> None:
            while log.execute(f'SELECT head FROM "{place.schema}".log_end').fetchall()[0][0] + 1 < committed:  # noqa: ASYNC110 (the log is in another process)
                await asyncio.sleep(0.005)

        async with application(broker, "memory:", name, deaf=True) as sender:
            sent = 0

            async def send(some: int) -> None:
                nonlocal sent
                for _ in range(some):
                    await sender.command_bus.dispatch(WORK[work](sent))
                    sent += 1

            ready = asyncio.create_task(asyncio.to_thread(workers.wait_for_all))
            while not ready.done():  # until each takes its share
                await send(4 * PARTITIONS)
                await until(sent)
            began = perf_counter()
            await send(items)
            await until(sent)
            return (perf_counter() - began) / items


def contestants(brokers: dict[str, str], database: str, items: int) -> list[Contestant]:
    """One process that owns its store, then those that share one, for each kind of work and each broker."""

    def run(broker: str, work: str, count: int, *, shared: bool = True) -> Callable[[], float]:
        def once() -> float:
            url = broker if broker.startswith("kafka") or not shared else f"{broker}?shared=yes"
            store = f"{database}?schema=bench_{new_id().replace('-', '')}{'&shared=yes' if shared else ''}"
            return asyncio.run(handled(url, store, count, work, items))

        return once

    field = []
    for kind, broker in brokers.items():
        for work in WORK:
            field.append(Contestant(f"{kind}, {work}, alone", run(broker, work, 1, shared=False), "owns its store"))
            field += [Contestant(f"{kind}, {work}, {count}", run(broker, work, count)) for count in PROCESSES]
    return field


def main(*, quick: bool, rounds: int) -> bool:
    """Run and report."""
    items = 150 if quick else 1_000
    with ExitStack() as stack:
        try:
            database = stack.enter_context(Postgres()).url
            brokers = {"rabbitmq": stack.enter_context(RabbitMQ()).create_vhost("bench")}
            brokers["kafka"] = f"{stack.enter_context(Kafka(jvm=())).url}?partitions={PARTITIONS}&inbox_partitions=1"
        except ServerMissingError as missing:
            print(f"  without all servers: {missing}")
            return True
        field = contestants(brokers, database, items)
        results = measure(field, rounds)
        for kind in brokers:
            for work in WORK:
                some = [one for one in field if one.name.startswith(f"{kind}, {work}, ")]
                title = f"Processes that share a store, {kind}: {items:,} commands whose handler {work} 5 ms, real time"
                report(title, some, results, f"{kind}, {work}, alone", (), unit="ms")
    return True
