"""An event store killed at random moments under load loses nothing it acknowledged, and invents nothing.

`MICROLITH_KILLS` sets the number of kills, `MICROLITH_SEED` repeats a run.
"""

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest

from tests.crash.store_checks import History, load_server

KILLS = int(os.environ.get("MICROLITH_KILLS", "200"))
KILLS_OF_ONE_STORE = 10
MESSAGES_A_TRIAL = 100_000


async def kill_repeatedly(directory: Path, kills: int, durability: str, manner: str, seed: int) -> int:
    """Kill stores under load at random moments, from their very start, and check each; return how much was acknowledged.

    Each kill is checked against the books; after so many the store is looked at as a whole, and another is begun.
    """
    chance = random.Random(seed)
    acknowledged = 0
    with load_server() as server:
        history = History(directory / "0.db")
        for trial in range(kills):
            pid = server.start(history.path, trial * MESSAGES_A_TRIAL, durability, manner)
            await asyncio.sleep(chance.uniform(0.01, 0.5 if trial % 3 == 0 else 0.2))
            os.kill(pid, signal.SIGKILL)
            assert server.books.gone.wait(timeout=20)
            last = (trial + 1) % KILLS_OF_ONE_STORE == 0 or trial + 1 == kills
            await history.check(server.books, whole=last)
            if last:
                acknowledged += len(server.books.acknowledged)
                server.books.tried.clear()
                server.books.acknowledged.clear()
                history = History(directory / f"{trial + 1}.db")
    return acknowledged


@pytest.mark.crash
@pytest.mark.timeout(900)
@pytest.mark.parametrize("durability", ["durable", "fast"])
async def test_store_loses_nothing_acknowledged_when_killed(tmp_path: Path, durability: str, seed: int):
    acknowledged = await kill_repeatedly(tmp_path, KILLS // 2, durability, "sound", seed)

    assert acknowledged > 0


@pytest.mark.crash
@pytest.mark.timeout(200)
async def test_the_same_checks_catch_an_acknowledgement_before_the_commit(tmp_path: Path):
    with pytest.raises(AssertionError, match="acknowledged messages are lost"):
        await kill_repeatedly(tmp_path, 20, "durable", "hasty", seed=1)
