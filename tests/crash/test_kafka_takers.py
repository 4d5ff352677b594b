"""A process that takes is killed, or stopped for a while: others go on, and know what may have been done before."""

import asyncio
import signal
from contextlib import suppress
from functools import partial

import pytest

from tests.crash.taker import PREFETCH
from tests.crash.takers import check, flowing
from tests.eventually import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(180)]

OPTIONS = "?partitions=4&inbox_partitions=1"
SESSION_SECONDS = 6.0
"""After which the broker of the tests misses a member."""
SETTLED_LATELY = 300
"""Parcels that one may settle within a second: what is not committed yet when it is killed."""


async def kill_one_after_the_other(kafka, app, tmp_path, kills, module="tests.crash.taker"):
    async with flowing(kafka.url + OPTIONS, app, tmp_path, module) as (confirmed, takers, start):
        for _ in range(kills):
            taker = start()
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
        await kill_one_after_the_other(kafka, kafka_prefix.rstrip("."), tmp_path, 2, "tests.crash.kafka_taker")


async def test_taker_that_was_stopped_hands_out_nothing_that_others_have_done_since(kafka, kafka_prefix, tmp_path):
    async with flowing(kafka.url + OPTIONS, kafka_prefix.rstrip("."), tmp_path) as (confirmed, takers, start):
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
