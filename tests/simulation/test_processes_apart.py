"""Processes of one application through a bad day: a broker that comes and goes, processes that die, messages that come twice.

Each seed is a day. Whatever happens, every command that was accepted is handled once in the store, and every event is once
in the log of each process that takes it. Planted bugs show that the checks can fail.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from random import Random

import pytest

from microlith import correlated
from microlith.context import HandlingOfArrival
from microlith.delivery import arriving, outbox
from microlith.delivery.outbox import EventOutbox
from microlith.event_store.protocol import Settlement
from microlith.testing.memory_broker import MemoryBroker
from microlith.transports import TransportUnavailableError
from tests.unit.transports.agency import BookCommand, agency

pytestmark = pytest.mark.timeout(120)

SEEDS = range(12)
COMMANDS = 40
COMPONENTS = ("booking", "paying", "telling")


class Day:
    """One seed's three processes, each on a store of its own."""

    def __init__(self, seed, root):
        self.random = Random(seed)
        self.broker = MemoryBroker()
        self.root = root
        self.apps = {}
        self.trips = []

    async def start(self, name):
        while name not in self.apps:
            app = agency(self.broker, name, store="sqlite:events.db", root=self.root)
            try:
                await app.start()
            except TransportUnavailableError:
                self.broker.come_back()
            else:
                self.apps[name] = app

    async def die(self, name):
        """End a process with what it has in hand; as far as that can be done within this one."""
        app = self.apps.pop(name)
        await app.stop(drain=0.0, finish_queues=False)

    async def send(self):
        trip = f"trip{len(self.trips)}"
        sender = self.random.choice(list(self.apps.values()))
        envelope = correlated(BookCommand(trip=trip))
        await sender.command_bus.dispatch(envelope)
        self.trips.append(trip)
        if self.random.random() < 0.2:
            await self.random.choice(list(self.apps.values())).command_bus.dispatch(envelope)

    async def live(self):
        for name in COMPONENTS:
            await self.start(name)
        while len(self.trips) < COMMANDS:
            what = self.random.random()
            if what < 0.1 and not self.broker.away:
                self.broker.go_away()
            elif what < 0.3:
                self.broker.come_back()
            elif what < 0.45:
                name = self.random.choice(COMPONENTS)
                await self.die(name)
                await self.start(name)
            else:
                await self.send()
            await asyncio.sleep(self.random.random() * 0.004)
        self.broker.come_back()

    async def end(self):
        """Wait until everything was told, then stop; return the trips in each log, by type."""
        logs = {}
        for _ in range(400):
            logs = {name: await self._log(app) for name, app in self.apps.items()}
            if len({trip for kind, trip in logs["telling"] if kind == "PaidEvent"}) == len(self.trips):
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # for what comes once too often
        logs = {name: await self._log(app) for name, app in self.apps.items()}
        for name in list(self.apps):
            await self.die(name)
        return logs

    async def _log(self, app):
        return [(event.type, event.message.trip) for event in await app.store.read_all(limit=10_000)]


async def lived(seed, root):
    day = Day(seed, root)
    try:
        await day.live()
        return day, await day.end()
    finally:
        for app in day.apps.values():
            await app.stop(drain=0.0)


def wrong(day, logs):
    """Say what is wrong after a day."""
    found = []
    for name, kind in (("booking", "BookedEvent"), ("paying", "PaidEvent"), ("telling", "PaidEvent")):
        counted = Counter(trip for type_, trip in logs[name] if type_ == kind)
        found += [f"{name} lacks the {kind} of {trip}" for trip in day.trips if not counted[trip]]
        found += [f"{name} has {number} {kind} of {trip}" for trip, number in counted.items() if number > 1]
    return found


@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_is_lost_and_nothing_is_done_twice(seed, tmp_path):
    day, logs = await lived(seed, tmp_path)

    assert wrong(day, logs) == []


def settle_at_once(monkeypatch):
    class Hasty(arriving.ArrivedCommand):
        def __init__(self, arrival, *rest):
            super().__init__(arrival, *rest)
            arrival.settle()

    monkeypatch.setattr(arriving, "ArrivedCommand", Hasty)


def never_send_again(monkeypatch):
    async def send(self, parcels):
        with suppress(TransportUnavailableError):
            await self._transport.publish(parcels)

    async def publish(self, parcels):
        await asyncio.sleep(0)
        self._reach()
        return await published(self, parcels)

    transport = type(MemoryBroker().connect(""))
    published = transport.publish
    monkeypatch.setattr(transport, "publish", publish)
    monkeypatch.setattr(outbox.Sender, "send", send)


def take_the_same_for_new(monkeypatch):
    class Forgetful(HandlingOfArrival):
        def __init__(self, handler, envelope, *rest):
            another = envelope.holding(envelope.message)
            another.message_id = f"{envelope.message_id}/{id(self)}"
            super().__init__(handler, another, *rest)

    monkeypatch.setattr(arriving, "HandlingOfArrival", Forgetful)


def pass_over_a_page(monkeypatch):
    page = EventOutbox._page

    async def hasty(self, events):
        last = events[-1]
        self._delivery.store.settle(Settlement(self.name, last.envelope, last.position, last.position))
        await asyncio.sleep(0.01)
        await page(self, events)

    monkeypatch.setattr(EventOutbox, "_page", hasty)


@pytest.mark.parametrize("plant", [settle_at_once, never_send_again, take_the_same_for_new, pass_over_a_page])
async def test_planted_bug_is_found(plant, tmp_path, monkeypatch):
    plant(monkeypatch)

    for seed in range(40):
        root = tmp_path / str(seed)
        root.mkdir()
        if wrong(*await lived(seed, root)):
            return
    pytest.fail("no day was bad enough to show it")
