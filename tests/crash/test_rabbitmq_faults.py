"""A RabbitMQ that is killed, and connections that break in every way, lose nothing confirmed and keep the order of keys.

`MICROLITH_RESTARTS` sets how often the broker is killed and started again, `MICROLITH_CUTS` how often connections are
broken, `MICROLITH_CLOSINGS` how often transports are closed over one that is; `MICROLITH_SEED` repeats a run.
"""

import asyncio
import os
import random
from collections import Counter
from contextlib import AsyncExitStack, suppress
from statistics import median
from time import monotonic

import pytest

from microlith.context import HandlingOfArrival
from microlith.delivery import arriving
from microlith.transports import TransportUnavailableError, make_transport
from microlith.transports.rabbitmq.sending import Sender
from microlith.transports.rabbitmq.taking import _Hand
from tests.crash.traffic import open_files, traffic
from tests.eventually import eventually
from tests.servers.faults import Blow, Fault, blows
from tests.servers.proxy import Proxy
from tests.unit.transports.agency import BookCommand, agency

pytestmark = [pytest.mark.rabbitmq, pytest.mark.crash, pytest.mark.slow]

RESTARTS = int(os.environ.get("MICROLITH_RESTARTS", "1"))
CUTS = int(os.environ.get("MICROLITH_CUTS", "12"))
CLOSINGS = int(os.environ.get("MICROLITH_CLOSINGS", "1"))
HEARTBEAT = 1
SILENT = 10.0
"""Seconds after which traffic goes on at the latest over a connection that broke without a word."""


async def until_nobody_is_connected(rabbitmq, vhost, seconds=20.0):
    """See that the broker is left by all connections."""
    deadline = monotonic() + seconds
    while left := await asyncio.to_thread(rabbitmq.manage, "GET", f"vhosts/{vhost}/connections"):
        assert monotonic() < deadline, f"{len(left)} connections are left"
        await asyncio.sleep(0.2)


async def kill_repeatedly(rabbitmq, url, restarts, seed, quiet=30.0):
    """Kill the broker under load at random moments; return how long it took to go on after each start."""
    chance = random.Random(seed)
    took = []
    files = open_files()
    async with traffic(lambda: make_transport(f"{url}?heartbeat={HEARTBEAT}"), "shop", seed) as flowing:
        await asyncio.to_thread(rabbitmq.write_declarations)
        await flowing.goes_on(20)
        for _ in range(restarts):
            await asyncio.sleep(chance.uniform(0.05, 1))
            rabbitmq.kill()
            await asyncio.to_thread(rabbitmq.start)
            took.append(await flowing.goes_on(30))
        await flowing.end(quiet)
    await eventually(lambda: open_files() <= files)
    return flowing.books, took


async def befall(proxy, blow):
    """Have a fault strike; again, where there was no connection that it could strike."""
    struck = proxy.counts.faults.total()
    while proxy.counts.faults.total() == struck:
        await eventually(lambda: proxy.connected, 30)
        proxy.strike(blow)
        if blow.after:
            await eventually(lambda: proxy.counts.faults.total() > struck, 30)


async def break_repeatedly(rabbitmq, url, planned, seed, quiet=30.0):
    """Break connections under load; return how long it took to go on after each."""
    took = {fault: [] for fault in Fault}
    files = open_files()
    with Proxy(rabbitmq.port) as proxy:
        connect = proxy.through(f"{url}?heartbeat={HEARTBEAT}")
        async with traffic(lambda: make_transport(connect), "shop", seed) as flowing:
            await flowing.goes_on(20)
            for blow in planned:
                await befall(proxy, blow)
                took[blow.fault].append(await flowing.goes_on(SILENT + blow.seconds))
            await flowing.end(quiet)
        await eventually(lambda: proxy.connected == 0, 10)
    await eventually(lambda: open_files() <= files)
    return flowing.books, took


@pytest.mark.timeout(120 + 40 * RESTARTS)
async def test_killed_broker_loses_nothing_confirmed(rabbitmq, rabbitmq_url, seed, record_property):
    books, took = await kill_repeatedly(rabbitmq, rabbitmq_url, RESTARTS, seed)

    record_property("confirmed", len(books.confirmed))
    record_property("went on after", took)
    assert len(books.confirmed) > 20 * RESTARTS
    await until_nobody_is_connected(rabbitmq, rabbitmq_url.rpartition("/")[2])


@pytest.mark.timeout(120 + 12 * CUTS)
async def test_broken_connections_lose_nothing_confirmed(rabbitmq, rabbitmq_url, seed, record_property):
    books, took = await break_repeatedly(rabbitmq, rabbitmq_url, blows(seed, CUTS), seed)

    record_property("confirmed", len(books.confirmed))
    for fault, seconds in took.items():
        record_property(fault.name, seconds)
    assert len(books.confirmed) > 5 * CUTS
    assert books.losses > CUTS // 3
    assert median(took[Fault.CUT] + took[Fault.RESET]) < 5
    await until_nobody_is_connected(rabbitmq, rabbitmq_url.rpartition("/")[2])


@pytest.mark.timeout(120 + 60 * CLOSINGS)
@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
async def test_closing_over_a_broken_connection_ends_soon_and_leaves_nothing(rabbitmq, rabbitmq_url, fault, seed):
    chance = random.Random(seed)
    with Proxy(rabbitmq.port) as proxy:
        url = proxy.through(f"{rabbitmq_url}?heartbeat={HEARTBEAT}")
        for number in range(CLOSINGS):
            async with traffic(lambda: make_transport(url), f"shop-{number}", seed) as flowing:
                await flowing.goes_on(20)
                proxy.strike(fault)
                await asyncio.sleep(chance.choice((0, 0.02, 1.5)))
                began = monotonic()
            assert monotonic() - began < SILENT


async def travel(rabbitmq, url, planned, root):
    """Book trips in three processes with stores of their own, over connections that break; return the trips and the logs."""
    trips = []
    with Proxy(rabbitmq.port) as proxy:
        broker = proxy.through(f"{url}?heartbeat={HEARTBEAT}")
        async with AsyncExitStack() as stack:
            apps = {
                name: await stack.enter_async_context(agency(broker, name, store="sqlite:events.db", root=root))
                for name in ("booking", "paying", "telling")
            }
            for blow in planned:
                new = [f"trip{len(trips) + number}" for number in range(20)]
                receipts = [apps["telling"].command_bus.dispatch(BookCommand(trip=trip)) for trip in new]
                trips += new
                await befall(proxy, blow)
                await asyncio.gather(*receipts)
            await until_told(apps["telling"], trips)
            logs = {name: await recorded(app) for name, app in apps.items()}
    return trips, logs


async def until_told(app, trips, quiet=30):
    """Wait until of all trips was told that they were paid; what is still missing when nothing comes any more is lost."""
    while left := set(trips) - {what.removeprefix("tell ") for what in app.handled}:
        told = len(app.handled)
        try:
            await eventually(lambda: len(app.handled) > told, quiet)  # noqa: B023 (called before it changes)
        except AssertionError:
            pytest.fail(f"{len(left)} of {len(trips)} trips are lost")
        await asyncio.sleep(0.1)


async def recorded(app):
    """Return what is in a log: the types, and of which trips."""
    return [(event.type, event.message.trip) for event in await app.store.read_all(limit=100_000)]


def too_often(logs):
    """Name what was recorded more than once."""
    return {(name, *what) for name, log in logs.items() for what, times in Counter(log).items() if times > 1}


@pytest.mark.timeout(180 + 12 * CUTS)
async def test_what_comes_again_has_no_second_effect_in_the_store(rabbitmq, rabbitmq_url, seed, tmp_path):
    trips, logs = await travel(rabbitmq, rabbitmq_url, blows(seed, CUTS), tmp_path)

    booked = {trip for kind, trip in logs["booking"] if kind == "BookedEvent"}
    assert booked == {trip for kind, trip in logs["paying"] if kind == "PaidEvent"} == set(trips)
    assert too_often(logs) == set()


@pytest.mark.timeout(180)
async def test_second_effect_would_be_noticed(rabbitmq, rabbitmq_url, tmp_path, monkeypatch):
    class Forgetful(HandlingOfArrival):
        """Takes each that comes for a new one."""

        def __init__(self, handler, envelope, *rest):
            another = envelope.holding(envelope.message)
            another.message_id = f"{envelope.message_id}/{id(self)}"
            super().__init__(handler, another, *rest)

    monkeypatch.setattr(arriving, "HandlingOfArrival", Forgetful)

    planned = [Blow(Fault.RESET, after=after, way="to client") for after in (6000, 9000, 12000) * 2]
    _, logs = await travel(rabbitmq, rabbitmq_url, planned, tmp_path)

    assert too_often(logs)


class Planted:
    """What may be wrong, each to be put into the transport by a test."""

    @staticmethod
    def settles_what_comes(monkeypatch):
        """It is settled before it is handed out."""
        take = _Hand.take

        def take_and_settle(self, tag):
            take(self, tag)
            self.settle(tag)

        monkeypatch.setattr(_Hand, "take", take_and_settle)

    @staticmethod
    def forgets_what_was_not_confirmed(monkeypatch):
        """A loss while something is sent is nothing to speak of."""
        send = Sender.send

        async def send_and_forget(self, packets):
            with suppress(TransportUnavailableError):
                await send(self, packets)

        monkeypatch.setattr(Sender, "send", send_and_forget)

    @staticmethod
    def sends_again_from_the_end(monkeypatch):
        """After a loss the last comes first."""
        send = Sender._send
        lost = False

        async def send_turned(self, packets):
            nonlocal lost
            try:
                turned, lost = packets[::-1] if lost else packets, False
                return await send(self, turned)
            except TransportUnavailableError:
                lost = True
                raise

        monkeypatch.setattr(Sender, "_send", send_turned)


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("plant", "way", "noticed"),
    [
        (Planted.settles_what_comes, "to client", "confirmed parcels are lost"),
        (Planted.forgets_what_was_not_confirmed, "to server", "confirmed parcels are lost"),
        (Planted.sends_again_from_the_end, "to server", "the order of . is broken"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
async def test_the_same_checks_catch(rabbitmq, rabbitmq_url, monkeypatch, plant, way, noticed):
    plant(monkeypatch)
    planned = [Blow(Fault.RESET, after=after, way=way) for after in (6000, 9000, 12000) * 2]

    with pytest.raises(AssertionError, match=noticed):
        await break_repeatedly(rabbitmq, rabbitmq_url, planned, seed=1, quiet=5)
