"""An application killed around the moments when something is due: each scheduled message is handled, its effect there once.

`MICROLITH_KILLS` sets the number of kills, `MICROLITH_SEED` repeats a run.
"""

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.crash.bells import RungEvent, make_tower
from tests.crash.test_app_survives_sigkill import Books, eventually_settled, kill_repeatedly
from tests.eventually import eventually

KILLS = int(os.environ.get("MICROLITH_KILLS", "60"))


@pytest.mark.crash
@pytest.mark.timeout(600)
async def test_each_scheduled_message_is_handled_once_over_60_kills(tmp_path: Path, seed: int):
    books = kill_repeatedly(tmp_path, KILLS, "late", seed, module="tests.crash.bells")

    rung = await rung_in_the_end(tmp_path)

    assert len(books.acknowledged) > KILLS
    assert set(rung.values()) == {1}, f"a bell rang twice; MICROLITH_SEED={seed}"
    assert books.acknowledged - set(rung) == set(), f"MICROLITH_SEED={seed}"
    assert set(rung) <= books.tried


@pytest.mark.crash
@pytest.mark.timeout(300)
async def test_the_same_checks_catch_a_schedule_that_ends_before_its_message_is_accepted(tmp_path: Path):
    books = Books()
    for part in range(4):  # whether a kill falls between the two commits is chance
        directory = tmp_path / str(part)
        directory.mkdir()
        books = kill_repeatedly(directory, 15, "early", seed=part, module="tests.crash.bells")
        if books.acknowledged - set(await rung_in_the_end(directory)):
            return

    pytest.fail("Nothing was lost.")


async def rung_in_the_end(directory: Path) -> Counter[int]:
    """Let a last process send and handle what is left; count how often each bell rang."""
    rung: Counter[int] = Counter()
    async with make_tower(str(directory)) as app:
        assert app.delivery is not None
        await eventually(lambda: not app.delivery.timers.busy and app.delivery.timers.first_due() == float("inf"), 60)  # type: ignore[union-attr]
        await eventually_settled(app)
        assert await app.idle()
        assert await app.schedules() == []
        for letter in await app.store.dead_letters():
            assert (
                "The process ended 5 times" in letter.error
            )  # killed whenever it was handled: nothing is lost by that
            await app.retry_dead_letter(letter.sequence)
        assert await app.idle()
        after = -1
        while page := await app.store.read_all(after=after, limit=5000):
            after = page[-1].position
            rung.update(event.message.bell for event in page if isinstance(event.message, RungEvent))
        await app.store.verify()
    return rung
