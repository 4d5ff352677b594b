"""A process that takes is killed, or stopped for a while: others go on, and know what may have been done before."""

import asyncio
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from microlith.transports import Parcel, Topology, make_transport
from tests.crash.kafka_taker import HANDLING, PREFETCH
from tests.eventually import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
KEYS = [f"shelf-{number}" for number in range(16)]
SESSION_SECONDS = 6.0
"""After which the broker of the tests misses a member."""
SETTLED_LATELY = 300
"""Parcels that one may settle within a second: what is not committed yet when it is killed."""


class Taker:
    """A process that takes, and its book."""

    def __init__(self, url, app, book, *how):
        self.book = book
        command = [sys.executable, "-m", "tests.crash.kafka_taker", url, app, str(book), *how]
        self.process = subprocess.Popen(command, cwd=ROOT)

    def lines(self):
        return [line.split() for line in self.book.read_text().splitlines()] if self.book.exists() else []

    def took(self):
        """What it was handed, with whether it was told that it may have come before."""
        return [(name, again[0] == "True") for what, name, *again in self.lines() if what == "took"]

    def done(self):
        return [name for what, name, *_ in self.lines() if what == "done"]

    def has_done(self, number):
        return len(self.done()) >= number

    def end(self):
        self.process.kill()
        self.process.wait()


@asynccontextmanager
async def flowing(kafka, app, tmp_path):
    """Have commands flow; give what is confirmed, and something that starts takers."""
    url = f"{kafka.url}?partitions=4&inbox_partitions=1"
    confirmed, takers = [], []

    async def send():
        for number in range(10**9):
            batch = [(HANDLING.topic, parcel(key, number)) for key in KEYS]
            await sender.publish(batch)
            confirmed.extend(one.attributes["id"] for _, one in batch)
            await asyncio.sleep(0.1)

    def start(*how):
        takers.append(Taker(url, app, tmp_path / f"book {len(takers)}", *how))
        return takers[-1]

    sender = make_transport(url)
    await sender.open(Topology(app, (HANDLING.topic,)))
    sending = asyncio.create_task(send())
    try:
        yield confirmed, takers, start
    finally:
        sending.cancel()
        await asyncio.wait([sending])
        for taker in takers:
            taker.end()
        await sender.close()


def parcel(key, number):
    attributes = {"specversion": "1.0", "id": f"{key}/{number}", "source": "/crash", "type": "Count"}
    return Parcel({**attributes, "partitionkey": key}, b"{}", key)


def check(confirmed, takers):
    """All that was confirmed by then is done; what came twice said so the second time."""
    done = [name for taker in takers for name in taker.done()]
    lost = set(confirmed) - set(done)
    assert not lost, f"{len(lost)} of {len(confirmed)} confirmed parcels are lost: {sorted(lost)[:5]}"
    fresh = [name for taker in takers for name, again in taker.took() if not again]
    assert len(fresh) == len(set(fresh)), "something came again without a word"
    return len(done) - len(set(done))


async def kill_one_after_the_other(kafka, app, tmp_path, kills, *how):
    async with flowing(kafka, app, tmp_path) as (confirmed, takers, start):
        for _ in range(kills):
            taker = start(*how)
            await eventually(partial(taker.has_done, 600), 30)  # longer than from one commit to the next
            taker.end()
        last, by_then = start(), list(confirmed)
        with suppress(AssertionError):  # what is missing is told by the check
            await eventually(lambda: set(by_then) <= {name for taker in takers for name in taker.done()}, 30)
        assert last.process.poll() is None
        return check(by_then, takers)


async def test_killed_taker_loses_nothing_and_the_next_knows_what_may_have_been_done(kafka, kafka_prefix, tmp_path):
    kills = 2

    again = await kill_one_after_the_other(kafka, kafka_prefix.rstrip("."), tmp_path, kills)

    assert again <= kills * (SETTLED_LATELY + PREFETCH)


async def test_the_same_check_catches_a_mark_that_says_too_much(kafka, kafka_prefix, tmp_path):
    with pytest.raises(AssertionError, match="without a word"):
        await kill_one_after_the_other(kafka, kafka_prefix.rstrip("."), tmp_path, 2, "careless")


async def test_taker_that_was_stopped_hands_out_nothing_that_others_have_done_since(kafka, kafka_prefix, tmp_path):
    async with flowing(kafka, kafka_prefix.rstrip("."), tmp_path) as (confirmed, takers, start):
        stopped = start()
        await eventually(lambda: len(stopped.done()) > 60, 30)
        stopped.process.send_signal(signal.SIGSTOP)
        other = start()
        before = list(confirmed)
        await eventually(lambda: set(before) <= {*stopped.done(), *other.done()}, 40)
        await asyncio.sleep(SESSION_SECONDS)  # as long as it takes to be sure that it is missed
        while_stopped = set(other.done())

        stopped.process.send_signal(signal.SIGCONT)

        by_then = list(confirmed)
        behind = len(stopped.took())
        await eventually(lambda: len(stopped.took()) > behind + PREFETCH + 20, 40)
        await eventually(lambda: set(by_then) <= {*stopped.done(), *other.done()}, 40)
        taken_since = [name for name, _ in stopped.took()[behind + PREFETCH :]]
        assert not while_stopped & set(taken_since)
        check(by_then, takers)
