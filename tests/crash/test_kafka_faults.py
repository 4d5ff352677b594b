"""A Kafka that is killed, and connections that break in every way, lose nothing confirmed and keep the order of keys.

`MICROLITH_RESTARTS` sets how often the broker is killed and started again, `MICROLITH_CUTS` how often connections are
broken; `MICROLITH_SEED` repeats a run.
"""

import asyncio
import os
import random
from functools import partial

import pytest

from microlith.transports import make_transport
from microlith.transports.kafka import sending
from tests.crash.traffic import traffic
from tests.eventually import eventually, noticed_sooner_or_later
from tests.servers.faults import Fault, blows
from tests.servers.ports import LOOPBACK
from tests.servers.proxy import Proxy

pytestmark = [pytest.mark.kafka, pytest.mark.crash, pytest.mark.slow]

RESTARTS = int(os.environ.get("MICROLITH_RESTARTS", "1"))
CUTS = int(os.environ.get("MICROLITH_CUTS", "12"))
OPTIONS = "partitions=3&inbox_partitions=1"
SILENT = 12.0
"""Seconds after which traffic goes on at the latest over a connection that broke without a word."""


async def kill_repeatedly(kafka, app, restarts, seed, patience=60.0):
    """Kill the broker under load at random moments; return how long it took to go on after each start."""
    chance = random.Random(seed)
    took = []
    async with traffic(partial(make_transport, f"{kafka.url}?{OPTIONS}"), app, seed) as flowing:
        await flowing.goes_on(30)
        for _ in range(restarts):
            await asyncio.sleep(chance.uniform(0.05, 2))
            kafka.kill()
            await asyncio.to_thread(kafka.start)
            took.append(await flowing.goes_on(60))
        await flowing.end(patience)
    return flowing.books, took


async def break_repeatedly(kafka, app, cuts, seed, patience=60.0):
    """Break connections under load in every way; return how long it took to go on after each."""
    took = {fault: [] for fault in Fault}
    with Proxy(kafka.proxied_port, port=kafka.proxy_port) as proxy:
        url = f"kafka://{LOOPBACK}:{proxy.port}?{OPTIONS}"
        async with traffic(partial(make_transport, url), app, seed) as flowing:
            await flowing.goes_on(30)
            for blow in blows(seed, cuts):
                struck = proxy.counts.faults.total()
                proxy.strike(blow)
                await eventually(partial(has_struck, proxy, struck), 30)
                took[blow.fault].append(await flowing.goes_on(SILENT + blow.seconds))
            await flowing.end(patience)
    return flowing.books, took


def has_struck(proxy, before):
    return proxy.counts.faults.total() > before


@pytest.mark.timeout(180 + 60 * RESTARTS)
async def test_killed_broker_loses_nothing_confirmed(kafka, kafka_prefix, seed, record_property):
    books, took = await kill_repeatedly(kafka, kafka_prefix.rstrip("."), RESTARTS, seed)

    record_property("went on after", took)
    assert len(books.confirmed) > 20 * RESTARTS


@pytest.mark.timeout(180 + 15 * CUTS)
async def test_broken_connections_lose_nothing_confirmed(kafka, kafka_prefix, seed, record_property):
    books, took = await break_repeatedly(kafka, kafka_prefix.rstrip("."), CUTS, seed)

    for fault, seconds in took.items():
        record_property(fault.name, seconds)
    assert len(books.confirmed) > 5 * CUTS


def asks_for_no_confirmation(monkeypatch):
    """What was handed to the network counts as taken."""
    careless = {"acks": 0, "enable.idempotence": False, "enable.gapless.guarantee": False}
    monkeypatch.setattr(sending, "_SETTINGS", {**sending._SETTINGS, **careless})


def sends_the_last_first(monkeypatch):
    """A batch is handed over from its end."""
    send = sending.Sender.send
    monkeypatch.setattr(sending.Sender, "send", lambda self, records: send(self, records[::-1]))


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("plant", "noticed"),
    [
        (asks_for_no_confirmation, "confirmed parcels are lost"),
        (sends_the_last_first, "the order of . is broken"),
    ],
)
async def test_the_same_checks_catch(kafka, kafka_prefix, monkeypatch, plant, noticed):
    plant(monkeypatch)

    await noticed_sooner_or_later(
        lambda number: break_repeatedly(kafka, f"{kafka_prefix}{number}", 15, seed=number, patience=5), noticed
    )
