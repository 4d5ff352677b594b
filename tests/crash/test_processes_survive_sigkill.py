"""A process that is killed between any two steps loses and repeats nothing in the store.

`MICROLITH_KILLS` sets the number of kills under load, `MICROLITH_SEED` repeats a run.
"""

import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from microlith import Microlith
from tests.crash.orders import STEPS, Fulfilment, make_shop
from tests.crash.test_app_survives_sigkill import Books, bank_server, eventually_settled, kill_repeatedly

KILLS = int(os.environ.get("MICROLITH_KILLS", "60"))
ORDERS = "tests.crash.orders"
MOST_MOMENTS = 60
OF_AN_ORDER = ["OrderPlacedEvent", "PaymentTakenEvent", "OrderShippedEvent", *3 * ["FulfilmentStepped"]]


def die_at(server: tuple[subprocess.Popen[bytes], Books], directory: Path, moment: int, mode: str) -> None:
    """Place one order on a store of its own, and die at some moment."""
    process, books = server
    (directory / str(moment)).mkdir()
    books.gone.clear()
    assert process.stdin is not None
    process.stdin.write(f"{moment} {mode}\n".encode())
    process.stdin.flush()
    assert books.gone.wait(timeout=20)


async def wrong_in(app: Microlith) -> tuple[set[int], dict[int, list[str]]]:
    """Let what is left be carried on; return the orders there are, and what is wrong with some of them."""
    await eventually_settled(app)
    assert await app.idle(30)
    events = []
    while page := await app.store.read_all(after=events[-1].position if events else -1, limit=5000):
        events.extend(page)
    await app.store.verify()
    assert [event.position for event in events] == list(range(len(events)))
    kinds: dict[int, Counter[str]] = {}
    steps: dict[int, list[tuple[str, int, bool]]] = {}
    for event in events:
        message = event.message
        if isinstance(message, Fulfilment.__dict__["__microlith_step__"]):
            number = int(message.key)
            step = message.took, message.state.taken, message.ended
            steps.setdefault(number, []).append(step)
        else:
            number = message.number  # type: ignore[attr-defined]
        kinds.setdefault(number, Counter())[event.type] += 1
    wrong = {
        number: sorted(found.elements())
        for number, found in kinds.items()
        if found != Counter(OF_AN_ORDER) or steps.get(number) != STEPS
    }
    for schedule in await app.store.schedules():
        wrong.setdefault(schedule.envelope.message.number, []).append("a deadline is left")  # type: ignore[attr-defined]
    assert await app.store.dead_letters() == []
    return set(kinds), wrong


async def wrong_at_each_moment(directory: Path, mode: str) -> tuple[int, dict[int, object]]:
    """Die once at each moment between two steps, carry on, and look; return how many there are, and what went wrong."""
    wrong: dict[int, object] = {}
    with bank_server(directory, ORDERS) as server:
        for moment in range(1, MOST_MOMENTS):
            die_at(server, directory, moment, mode)
            if moment in server[1].whole:
                return moment - 1, wrong
            async with make_shop(str(directory / str(moment))) as app:
                orders, found = await wrong_in(app)
            if found or orders not in ({1}, set()):
                wrong[moment] = found
    raise AssertionError("The order was never followed to its end.")


@pytest.mark.crash
@pytest.mark.timeout(200)
async def test_death_at_every_moment_between_two_steps_loses_and_repeats_nothing(tmp_path: Path):
    moments, wrong = await wrong_at_each_moment(tmp_path, "once")

    assert moments >= 10
    assert wrong == {}


@pytest.mark.crash
@pytest.mark.timeout(200)
async def test_the_same_checks_catch_output_that_is_committed_apart_from_its_step(tmp_path: Path):
    _, wrong = await wrong_at_each_moment(tmp_path, "once-apart")

    assert wrong


@pytest.mark.crash
@pytest.mark.timeout(600)
async def test_processes_killed_under_load_lose_and_repeat_nothing(tmp_path: Path, seed: int):
    books = kill_repeatedly(tmp_path, KILLS, "load", seed, module=ORDERS)

    async with make_shop(str(tmp_path)) as app:
        orders, wrong = await wrong_in(app)

    assert len(books.acknowledged) > KILLS
    assert wrong == {}
    assert books.acknowledged <= orders <= books.tried
