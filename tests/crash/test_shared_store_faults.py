"""Processes that share a store over a real broker: killed, and cut off from it and from their database, under load.

Three processes of a depot share a PostgreSQL store; a gateway in this process sends them commands. Whatever befalls them,
every command has its effect once, and no two of them are in the handler of one key at a time. Only where a connection to the
database was cut may they be: the claim goes with the connection, and nobody calls a handler back that has begun.

`MICROLITH_SHARED_KILLS` sets how often a process is killed, `MICROLITH_SHARED_CUTS` how often connections are broken;
`MICROLITH_SEED` repeats a run.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from time import monotonic_ns

import pytest

from microlith import Microlith
from microlith.event_store.postgres.place import Place
from microlith.testing.memory_broker import MemoryBroker
from tests.crash.depot import BringCommand, BroughtEvent, CountRequest, WeighedEvent, depot
from tests.crash.depot_books import Books, Worker, wait_for
from tests.eventually import eventually, noticed_sooner_or_later
from tests.servers.faults import Blow, Fault, blows
from tests.servers.ports import LOOPBACK
from tests.servers.proxy import Proxy

pytestmark = [pytest.mark.postgres, pytest.mark.crash, pytest.mark.slow]

KILLS = int(os.environ.get("MICROLITH_SHARED_KILLS", "2"))
CUTS = int(os.environ.get("MICROLITH_SHARED_CUTS", "2"))
PROCESSES = 3
BAYS = 12
AHEAD = 40
"""How many commands are sent and not handled yet, at most."""
PATIENCE = 90.0
LIMIT = 240 + 20 * (KILLS + CUTS)
DATABASE_FAULTS = (Fault.CUT, Fault.RESET, Fault.STALL, Fault.TRICKLE)
"""Not those after which the server believes that its client is there, and keeps what it has locked: it would for as long as
the proxy lives."""


class Yard:
    """Three processes, a gateway that sends, and what can be done to them."""

    def __init__(self, broker: Proxy, url: str, name: str, store: str, seed: int) -> None:
        self.books = Books()
        self.workers: list[Worker] = []
        self.broker = broker
        self.databases: list[Proxy] = []
        self.sent: list[str] = []
        self.chance = random.Random(seed)
        self._url, self._name, self._store, self._seed = url, name, store, seed

    async def open(self, stack: AsyncExitStack, port: int, bugs: tuple[str, ...]) -> None:
        """Start everything; what is sent begins to flow."""
        for slot in range(PROCESSES):
            database = stack.enter_context(Proxy(port))
            self.databases.append(database)
            worker = Worker(slot, self.books, self._url, database.through(self._store), self._name, *bugs)
            self.workers.append(worker)
            stack.callback(worker.put_away)
            worker.start()
        for worker in self.workers:
            await asyncio.to_thread(wait_for, worker)
        self._gateway = await stack.enter_async_context(depot(self._url, "", {}, self._name, deaf=True))
        self._sending = asyncio.create_task(self._send(self._gateway))
        stack.callback(self._sending.cancel)
        await self.goes_on()

    async def _send(self, gateway: Microlith) -> None:
        for number in range(10**9):
            await eventually(self._has_room, 10 * PATIENCE)
            bay, item = f"bay{self.chance.randrange(BAYS)}", f"i{number}"
            seconds = self.chance.choice((0.002, 0.02, 0.05, 0.1))
            await gateway.command_bus.dispatch(BringCommand(bay=bay, item=item, seconds=seconds))
            self.sent.append(item)

    def _has_room(self) -> bool:
        sent = len(self.sent)
        return sent - len(self.books.begun) < AHEAD and sent - len(self.books.weighed) < 3 * AHEAD

    async def goes_on(self, *, weighed: bool = True) -> None:
        """Wait until more was handled: commands, and events by whoever leads."""
        books, before, of_events = self.books, len(self.books.handlings), len(self.books.weighed)
        await eventually(
            lambda: len(books.handlings) > before + 5 and (not weighed or len(books.weighed) > of_events + 5), PATIENCE
        )

    async def leader(self) -> Worker:
        """Return the process that leads, once there is one."""
        await eventually(lambda: any(worker.leads for worker in self.workers), PATIENCE)
        return next(worker for worker in self.workers if worker.leads)

    async def kill(self, worker: Worker, *, at_once: bool) -> None:
        """Kill a process, and start it again: at once, or when the others have gone on without it."""
        with suppress(AssertionError):  # it may get no messages at all for a while
            await eventually(lambda: worker.is_at_work, 10)
        await asyncio.to_thread(worker.kill)
        if not at_once:
            await self.goes_on()
        await asyncio.to_thread(worker.start)
        await asyncio.to_thread(wait_for, worker)
        await self.goes_on()

    async def break_broker(self, blow: Blow) -> None:
        """Break the connections to the broker of all, the gateway among them."""
        self.broker.strike(blow)
        await self.goes_on()

    async def break_database(self, slot: int, blow: Blow) -> None:
        """Break the connections of one process to the database."""
        proxy = self.databases[slot]
        struck = proxy.counts.faults.total()
        began = monotonic_ns()
        proxy.strike(blow)
        with suppress(AssertionError):  # a process that has nothing to do sends nothing
            await eventually(lambda: proxy.counts.faults.total() > struck, 5)
        self.books.cuts.append((began, monotonic_ns(), slot))
        await self.goes_on()

    async def end(self) -> None:
        """Send no more, wait until all was handled, and end the processes."""
        self._sending.cancel()
        with suppress(asyncio.CancelledError):
            await self._sending
        books, sent = self.books, set(self.sent)
        while not sent <= set(books.weighed):
            before = len(books.handlings), len(books.weighed)
            try:
                await eventually(lambda: (len(books.handlings), len(books.weighed)) != before, 30)  # noqa: B023
            except AssertionError:
                break  # the check says better what is missing
        await self.leader()
        assert sum(worker.leads for worker in self.workers) == 1
        codes = [await asyncio.to_thread(worker.stop) for worker in self.workers]
        assert codes == [0] * PROCESSES

    async def check(self) -> dict[str, int]:
        """Compare what was sent with the log, and what each process said; return what there is to tell of it."""
        books, sent = self.books, Counter(self.sent)
        async with depot(MemoryBroker(), self._store, {}) as app:
            assert await app.idle(PATIENCE)
            log = await app.store.read_all(limit=10**9)
            letters = await app.store.dead_letters()
            counts = {
                bay: (await app.query_bus.ask(CountRequest(bay=bay))).items
                for bay in ("all", *(f"bay{number}" for number in range(BAYS)))
            }
            assert await app.store.verify() == len(log)
        brought = [event.message for event in log if isinstance(event.message, BroughtEvent)]
        for effect, of in (
            (Counter(one.item for one in brought), "commands"),
            (Counter(event.message.item for event in log if isinstance(event.message, WeighedEvent)), "events"),
        ):
            lost, doubled = sent - effect, effect - sent
            assert not lost, f"{len(lost)} of {len(sent)} {of} are lost: {sorted(lost)[:5]}"
            assert not doubled, f"{len(doubled)} effects of {of} are doubled: {sorted(doubled)[:5]}"
        assert sent.keys() == books.weighed.keys()
        assert app.weighed == [], "events were left for the next start"
        assert letters == []
        assert counts.pop("all") == len(brought)
        assert +Counter(counts) == Counter(one.bay for one in brought)
        bad, overlaps = books.overlaps()
        assert not bad, f"{len(bad)} times two were at one bay: {bad[:3]}"
        bad, stale = books.stale(brought)
        assert not bad, f"{len(bad)} times a commit before was not seen: {bad[:3]}"
        again = len(books.handlings) - len(sent)
        return {
            "commands": len(sent),
            "interrupted": sum(worker.interrupted for worker in self.workers),
            "called again": again,
            "overlaps": overlaps,
            "stale": stale,
        }


@pytest.fixture(params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("rabbitmq", "kafka")])
def broker(request: pytest.FixtureRequest) -> Iterator[tuple[Proxy, str, str]]:
    """Give a proxy before a broker, the url by way of it, and a name for the application."""
    if request.param == "kafka":
        kafka = request.getfixturevalue("kafka")
        name = request.getfixturevalue("kafka_prefix").removesuffix(".")
        with Proxy(kafka.proxied_port, port=kafka.proxy_port) as proxy:
            yield proxy, f"kafka://{LOOPBACK}:{proxy.port}?partitions=6&inbox_partitions=1", name
    else:
        direct = request.getfixturevalue("rabbitmq_url")
        with Proxy(request.getfixturevalue("rabbitmq").port) as proxy:
            yield proxy, f"{proxy.through(direct)}?shared=yes", "depot"


Blows = Callable[[Yard, int], Awaitable[None]]


@pytest.fixture
def befall(broker, postgres, postgres_schema) -> Callable[..., Awaitable[dict[str, int]]]:
    """Have processes work, something befall them, and look at what came of it."""

    async def befall(blow: Blows, seed: int, *bugs: str) -> dict[str, int]:
        proxy, url, name = broker
        store = f"{postgres_schema}_{seed % 1000}&shared=yes"
        async with AsyncExitStack() as stack:
            yard = Yard(proxy, url, f"{name}.{seed}", store, seed)
            await yard.open(stack, postgres.port, bugs)
            await blow(yard, seed)
            await yard.end()
        told = await yard.check()
        schema = Place.of(store).schema
        postgres.drop_schemas(schema, f"{schema}_keys")
        return told

    return befall


async def kill_some(yard: Yard, seed: int) -> None:
    """Kill the leader and others, in turn."""
    for number in range(KILLS):
        leader = await yard.leader()
        others = [worker for worker in yard.workers if worker is not leader]
        chosen = yard.chance.choice(others) if number % 2 else leader
        await asyncio.sleep(yard.chance.uniform(0, 0.5))
        await yard.kill(chosen, at_once=yard.chance.random() < 0.5)


async def cut_some(yard: Yard, seed: int) -> None:
    """Break connections to the broker, and of one process to the database, in turn."""
    for number, blow in enumerate(blows(seed, CUTS, longest=1.0)):
        if number % 2:
            await yard.break_broker(blow)
        else:
            fault = yard.chance.choice(DATABASE_FAULTS)
            await yard.break_database(yard.chance.randrange(PROCESSES), replace(blow, fault=fault))


@pytest.mark.timeout(LIMIT)
async def test_processes_that_are_killed_and_cut_off_lose_repeat_and_mix_nothing(befall, seed, record_property):
    async def everything(yard: Yard, seed: int) -> None:
        await kill_some(yard, seed)
        assert yard.books.overlaps() == ([], 0)
        await cut_some(yard, seed)

    told = await befall(everything, seed)

    for name, value in told.items():
        record_property(name, value)
    print(told)  # noqa: T201 (shown with -s)
    assert told["commands"] > 10 * (KILLS + CUTS)


async def reset_and_kill(yard: Yard, seed: int) -> None:
    """Have everything come again that is in hand: at once in another process, or after one has died."""
    for _ in range(3):
        await eventually(lambda: any(worker.is_at_work for worker in yard.workers), 10)
        await yard.break_broker(Blow(Fault.RESET))
    await yard.kill(yard.chance.choice(yard.workers), at_once=True)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("broker", [pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)], indirect=True)
@pytest.mark.parametrize(
    ("bug", "noticed"), [("claims nothing", "at one bay|was not seen"), ("settles nothing", "are doubled")]
)
async def test_the_same_checks_catch(befall, bug, noticed):
    await noticed_sooner_or_later(lambda number: befall(reset_and_kill, number, bug), noticed)
