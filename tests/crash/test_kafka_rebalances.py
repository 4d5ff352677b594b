"""Members of a group that come and go under load lose nothing, and no two have the same key at a time.

`MICROLITH_MEMBERS` sets how often one comes or goes; `MICROLITH_SEED` repeats a run.
"""

import asyncio
import os
import random
from collections import Counter
from contextlib import suppress
from functools import partial
from itertools import count, islice

import pytest
from confluent_kafka import murmur2

from microlith.transports import Parcel, Subscribing, Topic, Topology, make_transport
from microlith.transports.kafka import group_reader
from microlith.transports.kafka.claims import Claim
from tests.eventually import eventually, noticed_sooner_or_later

pytestmark = [pytest.mark.kafka, pytest.mark.crash, pytest.mark.slow]

CHANGES = int(os.environ.get("MICROLITH_MEMBERS", "10"))
HANDLING = Subscribing(Topic("command", "stock"), "stock")
PARTITIONS = 6
KEYS = [
    key
    for partition in range(PARTITIONS)
    for key in islice(
        (key for key in map("shelf-{}".format, count()) if murmur2(key.encode(), PARTITIONS) == partition), 4
    )
]
"""Four of each partition, so that nobody waits for work in vain."""
PREFETCH = 8
MOST_MEMBERS = 4


class Member:
    """One of the group: has some parcels in hand at a time, and is done with each after a while."""

    def __init__(self, load, transport):
        self.load = load
        self.transport = transport
        self.in_hand = {}
        self.came = 0
        self._work = set()
        self._task = asyncio.create_task(self._take())

    async def _take(self):
        keys = {}
        async for arrival in self.transport.subscribe(HANDLING, prefetch=PREFETCH):
            self.came += 1
            self.load.note_hand_out(self, arrival)
            before = keys.get(arrival.parcel.key)
            keys[arrival.parcel.key] = task = asyncio.create_task(self._handle(arrival, before))
            self._work.add(task)
            task.add_done_callback(self._work.discard)

    async def _handle(self, arrival, before):
        """Handle what has one key one after the other."""
        if before is not None:
            await asyncio.wait([before])
        await asyncio.sleep(self.load.chance.choice((0, 0.002, 0.01, 0.04)))
        self.load.note_done(self, arrival)
        arrival.settle()

    def has_got(self, number):
        return self.came >= number

    async def leave(self):
        """Go with whatever is in hand."""
        closing = asyncio.create_task(self.transport.close())
        await asyncio.sleep(0)
        for task in self._work:
            task.cancel()
        self.load.left_behind.update(self.in_hand.keys())
        self.in_hand.clear()
        await closing
        await self._task


class Load:
    """What is sent and done, and who has what in hand."""

    def __init__(self, url, app, seed):
        self.connect = partial(make_transport, url)
        self.app = app
        self.chance = random.Random(seed)
        self.sent = []
        self.confirmed = set()
        self.done = []
        self.fresh = Counter()
        self.left_behind = Counter()
        self.members = []
        self.broken = []

    async def join(self):
        transport = self.connect()
        await transport.open(Topology(self.app, (), (HANDLING,)))
        self.members.append(Member(self, transport))
        return self.members[-1]

    async def leave(self, member):
        self.members.remove(member)
        await member.leave()

    def note_hand_out(self, member, arrival):
        name, key = arrival.parcel.attributes["id"], arrival.parcel.key
        self.fresh[name] += not arrival.again
        others = [other for other in self.members if other is not member and key in other.in_hand.values()]
        if others:
            self.broken.append(f"{name} was handed out while another member had {key} in hand")
        member.in_hand[name] = key

    def note_done(self, member, arrival):
        name = arrival.parcel.attributes["id"]
        if member.in_hand.pop(name, None) is not None:
            self.done.append(name)

    async def send(self):
        transport = self.connect()
        await transport.open(Topology(self.app, (HANDLING.topic,)))
        try:
            for number in range(10**9):
                batch = [self._parcel(key, number) for key in KEYS]
                self.sent += batch
                await transport.publish([(HANDLING.topic, parcel) for parcel in batch])
                self.confirmed.update(parcel.attributes["id"] for parcel in batch)
                await asyncio.sleep(0.1)  # less than one member can do
        finally:
            await transport.close()

    @staticmethod
    def _parcel(key, number):
        attributes = {"specversion": "1.0", "id": f"{key}/{number}", "source": "/crash", "type": "Count"}
        return Parcel({**attributes, "partitionkey": key}, b"{}", key)

    def check(self):
        first = list(dict.fromkeys(self.done))
        lost = self.confirmed - set(first)
        assert not lost, f"{len(lost)} of {len(self.confirmed)} confirmed parcels are lost: {sorted(lost)[:5]}"
        assert not self.broken, f"{len(self.broken)} times: {self.broken[0]}"
        for key in KEYS:
            expected = [
                one.attributes["id"] for one in self.sent if one.key == key and one.attributes["id"] in set(first)
            ]
            assert [name for name in first if name.startswith(f"{key}/")] == expected, f"the order of {key} is broken"
        again = {name: times for name, times in Counter(self.done).items() if times > 1}
        assert not again, f"done more than once: {again}"
        unsaid = {name: times for name, times in self.fresh.items() if times > 1}
        assert not unsaid, f"handed out again without a word: {unsaid}"


async def change_members(kafka, app, changes, seed, patience=60.0):
    """Let members come and go under load, and check the books."""
    load = Load(f"{kafka.url}?partitions={PARTITIONS}&inbox_partitions=1", app, seed)
    first = await load.join()
    sending = asyncio.create_task(load.send())
    try:
        await eventually(partial(first.has_got, 20), 30)
        for _ in range(changes):
            if len(load.members) < 2 or (len(load.members) < MOST_MEMBERS and load.chance.random() < 0.5):
                member = await load.join()
                await eventually(partial(member.has_got, 5), 30)
            else:
                await load.leave(load.chance.choice(load.members))
            await asyncio.sleep(load.chance.uniform(0, 0.5))
        sending.cancel()
        await asyncio.wait([sending])
        with suppress(AssertionError):  # what is missing is told by the check
            await eventually(lambda: load.confirmed <= set(load.done), patience)
        load.check()
    finally:
        sending.cancel()
        await asyncio.wait([sending])
        for member in list(load.members):
            await load.leave(member)
    return load


@pytest.mark.timeout(180 + 15 * CHANGES)
async def test_members_that_come_and_go_lose_nothing_and_share_no_key(kafka, kafka_prefix, seed, record_property):
    load = await change_members(kafka, kafka_prefix.rstrip("."), CHANGES, seed)
    record_property("confirmed, left in hand", (len(load.confirmed), len(load.left_behind)))

    assert len(load.confirmed) > 10 * CHANGES
    assert load.left_behind, "no member has left with something in hand: this says nothing"


def commits_before_the_effect(monkeypatch):
    """What is taken in counts as settled."""
    take_in = Claim.take_in

    def take_in_and_settle(self, offset):
        fresh = take_in(self, offset)
        self.settle(offset)
        return fresh

    monkeypatch.setattr(Claim, "take_in", take_in_and_settle)
    monkeypatch.setattr(Claim, "put_back", lambda _self, _offset: None)


def gives_up_at_once(monkeypatch):
    """Partitions go to others with what is still in hand."""
    monkeypatch.setattr(group_reader, "DRAIN_SECONDS", 0)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("plant", "noticed"),
    [
        (commits_before_the_effect, "confirmed parcels are lost"),
        (gives_up_at_once, "while another member had|done more than once"),
    ],
)
async def test_the_same_checks_catch(kafka, kafka_prefix, monkeypatch, plant, noticed):
    plant(monkeypatch)

    await noticed_sooner_or_later(
        lambda number: change_members(kafka, f"{kafka_prefix}{number}", 12, seed=2 + number, patience=15), noticed
    )
