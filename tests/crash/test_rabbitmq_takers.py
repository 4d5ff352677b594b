"""Of two processes that share the commands of a component over RabbitMQ one is killed: the other does what it had in hand."""

from contextlib import suppress
from functools import partial

import pytest

from tests.crash.taker import PREFETCH
from tests.crash.takers import check, flowing
from tests.eventually import eventually, noticed_sooner_or_later

pytestmark = [pytest.mark.rabbitmq, pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(180)]

PATIENCE = 40
HEARTBEAT = 2


async def kill_one_of_two(url, app, tmp_path, kills, *how, patience=PATIENCE):
    """Kill one of two that both take, again and again; return how many commands were done again, and how many processes took."""
    async with flowing(f"{url}?shared=yes&heartbeat={HEARTBEAT}", app, tmp_path) as (confirmed, takers, start):
        start(*how)
        for _ in range(kills):
            start(*how)
            sharing = takers[-2:]
            enough = [(taker, len(taker.done()) + 50) for taker in sharing]
            for taker, number in enough:
                await eventually(partial(taker.has_done, number), PATIENCE)
            sharing[0].end()
        by_then = list(confirmed)
        with suppress(AssertionError):  # what is missing is told by the check
            await eventually(lambda: set(by_then) <= {name for one in takers for name in one.done()}, patience)
        assert takers[-1].process.poll() is None
        return check(by_then, takers), len(takers)


async def test_killed_one_of_two_that_share_loses_nothing_and_the_other_knows_what_may_have_been_done(
    rabbitmq_url, tmp_path
):
    kills = 3

    again, shared_by = await kill_one_of_two(rabbitmq_url, "shop", tmp_path, kills)

    assert again <= kills * PREFETCH
    assert shared_by == kills + 1


async def test_the_same_check_catches_one_that_settles_before_it_is_done(rabbitmq_url, tmp_path):
    async def check_it(number):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        await kill_one_of_two(rabbitmq_url, f"shop-{number}", folder, 2, "hasty", patience=5)

    await noticed_sooner_or_later(check_it, "confirmed parcels are lost")
