"""The simulation itself: virtual time, one seed one history, and what it says of a broken promise."""

import asyncio
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from microlith import Command, CommandBus, Component, Event, Microlith, Query, Response, WaitTimeout
from microlith.errors import MicrolithError, WiringError
from microlith.testing.simulation import Faults, SimulationFailedError, World, simulate, simulated
from tests.simulation.market import books_balance, make_market, trade

ROOT = Path(__file__).parents[2]


class WorkCommand(Command):
    """Ask for work."""

    seconds: float = 0.0


class WorkDoneEvent(Event):
    """It is done."""


class HardWorkCommand(Command):
    """Ask for work in a thread."""


class NapResponse(Response):
    """How long it was."""

    seconds: float


class NapRequest(Query[NapResponse]):
    """Ask for a nap in a thread."""

    seconds: float


def make_works() -> Microlith:
    works = Component("works")

    @works.handles(WorkCommand, timeout=100_000)
    async def work(command: WorkCommand) -> WorkDoneEvent:
        await asyncio.sleep(command.seconds)
        return WorkDoneEvent()

    @works.handles(HardWorkCommand)
    def work_hard(_: HardWorkCommand, bus: CommandBus) -> None:
        bus.dispatch(WorkCommand()).result(timeout=5)

    @works.handles(NapRequest)
    def nap(query: NapRequest) -> NapResponse:
        begun = time.monotonic()
        time.sleep(query.seconds)
        return NapResponse(seconds=time.monotonic() - begun)

    return Microlith("works", [works])


def test_an_hour_takes_no_time():
    async def scenario(world: World) -> None:
        receipt = await world.app.command_bus.dispatch(WorkCommand(seconds=3600))
        await world.app.event_bus.wait_for(receipt.correlation_id, WorkDoneEvent, timeout=4000)
        assert world.now > 3600

    begun = time.perf_counter()
    assert simulate(make_works, scenario, longest=5000).seconds > 3600
    assert time.perf_counter() - begun < 5


def test_handlers_in_threads_take_their_turn_in_virtual_time():
    async def scenario(world: World) -> None:
        slow, quick = await asyncio.gather(
            world.app.query_bus.ask(NapRequest(seconds=3.0)), world.app.query_bus.ask(NapRequest(seconds=0.5))
        )
        assert 3 <= slow.seconds < 3.1
        assert 0.5 <= quick.seconds < 0.6
        receipt = await world.app.command_bus.dispatch(HardWorkCommand())
        await world.app.event_bus.wait_for(receipt.correlation_id, WorkDoneEvent)

    one, other = (simulate(make_works, scenario, seed=3) for _ in range(2))
    assert one.history == other.history


def test_the_clock_and_the_ids_are_real_again_afterwards():
    state, begun = random.getstate(), time.time()

    async def scenario(_: World) -> None:
        assert time.time() < begun
        random.random()

    simulate(make_works, scenario)

    assert time.time() >= begun
    assert random.getstate() == state


@pytest.mark.parametrize("seed", range(10))
def test_same_seed_makes_the_same_history(seed: int):
    app = make_market()
    one, other = (simulate(app, trade, seed=seed, faults=Faults.all(), check=books_balance).history for _ in range(2))

    assert one == other


def test_same_seed_makes_the_same_history_in_another_process():
    code = (
        "from microlith.testing.simulation import *\nfrom tests.simulation.market import *\n"
        "print([simulate(make_market, trade, seed=s, faults=Faults.all()).digest for s in range(5)])"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=50,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(digests) == 1


def test_different_seeds_make_different_orders():
    app = make_market()

    assert len({simulate(app, trade, seed=seed).digest for seed in range(10)}) == 10


def test_crashes_and_other_faults_happen():
    app = make_market()
    missing = {
        "CRASH: before a commit",
        "CRASH: after a commit",
        "CRASH: after telling of a commit",
        "CRASH: the disk failed",
        "commit refused",
        "half-way, written",
        "half-way, not written",
        "sent again",
    }
    for seed in range(300):
        history = "\n".join(simulate(app, trade, seed=seed, faults=Faults.all()).history)
        missing = {fact for fact in missing if fact not in history}
        if not missing:
            return
    raise AssertionError(f"In 300 runs there was none of these: {missing}")


def test_a_scenario_that_fails_tells_its_seed_its_messages_and_how_to_run_it_again():
    async def scenario(world: World) -> None:
        receipt = await world.app.command_bus.dispatch(WorkCommand())
        await world.app.event_bus.wait_for(receipt.correlation_id, WorkDoneEvent)
        raise AssertionError("it was blue")

    with pytest.raises(SimulationFailedError) as failed:
        simulate(make_works, scenario, seed=7)

    told = str(failed.value)
    assert failed.value.seed == 7
    assert "Seed 7 breaks a promise:\n  - AssertionError: it was blue" in told
    assert "works.work ok" in told
    assert "MICROLITH_SEED=7 python -m pytest '" in told
    assert "went differently" not in told
    assert str(failed.value.__cause__) == "it was blue"


def test_a_run_that_does_not_follow_its_seed_is_named():
    runs: list[int] = []

    async def scenario(world: World) -> None:
        runs.append(1)
        world.note(f"run {len(runs)}")
        raise AssertionError

    with pytest.raises(SimulationFailedError, match="went differently"):
        simulate(make_works, scenario)


def test_waiting_for_what_never_comes_is_noticed_at_once():
    async def scenario(world: World) -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(SimulationFailedError, match="did not end within 60 virtual seconds"):
        simulate(make_works, scenario, longest=60)


def test_a_check_looks_when_everything_has_come_to_rest():
    async def scenario(world: World) -> None:
        await world.app.command_bus.dispatch(WorkCommand(seconds=50))

    async def check(world: World) -> None:
        assert await world.app.store.head() == 0

    simulate(make_works, scenario, check=check)


def test_a_crash_ends_the_application_and_not_the_scenario():
    async def scenario(world: World) -> None:
        receipt = await world.app.command_bus.dispatch(WorkCommand(seconds=1))
        waiting = asyncio.create_task(world.app.event_bus.wait_for(receipt.correlation_id, WorkDoneEvent))
        await asyncio.sleep(0.5)
        await world.crash()
        with pytest.raises(MicrolithError, match="stopped"):
            await waiting
        assert world.life == 2
        await world.app.event_bus.wait_for(receipt.correlation_id, WorkDoneEvent)

    simulate(make_works, scenario)


def test_a_handler_that_takes_too_long_is_cut_off_in_virtual_time():
    async def scenario(world: World) -> None:
        receipt = await world.app.command_bus.dispatch(WorkCommand(seconds=200_000))
        with pytest.raises(WaitTimeout):
            await world.app.event_bus.wait_for(receipt.correlation_id, WorkDoneEvent, timeout=99_000)
        await world.idle(200_000)
        (letter,) = await world.app.store.dead_letters()
        assert "took longer than 100000 s" in letter.error

    simulate(make_works, scenario, longest=300_000)


async def test_a_running_loop_stands_still_meanwhile():
    turns: list[int] = []
    asyncio.get_running_loop().call_soon(turns.append, 1)

    async def scenario(_: World) -> None:
        await asyncio.sleep(60)
        assert not turns

    simulate(make_works, scenario)
    await asyncio.sleep(0)

    assert turns == [1]


@pytest.mark.parametrize("wrong", [{"crash": 1.5}, {"duplicate": -0.1}, {"delay": -1.0}, {"at_most": -1}])
def test_faults_that_make_no_sense_are_refused(wrong: dict[str, float]):
    with pytest.raises(WiringError):
        Faults(**wrong)  # type: ignore[arg-type]


@simulated(make_works, seeds=3)
async def test_a_test_of_many_seeds_takes_fixtures(world: World, tmp_path: Path):
    assert tmp_path.exists()
    await world.dispatch(WorkCommand())


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("MICROLITH_SEED", "7", [7]), ("MICROLITH_SEEDS", "3", [0, 1, 2]), ("MICROLITH_SEEDS", "5-6", [5, 6])],
)
def test_the_environment_chooses_the_seeds(monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: list[int]):
    monkeypatch.setenv(name, value)
    seen: list[int] = []

    @simulated(make_works, seeds=1)
    async def scenario(world: World) -> None:
        seen.append(world.seed)

    scenario()

    assert seen == expected


def test_seeds_that_mean_nothing_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MICROLITH_SEEDS", "many")

    @simulated(make_works)
    async def scenario(_: World) -> None:
        """Do nothing."""

    with pytest.raises(MicrolithError, match="names no seeds"):
        scenario()
