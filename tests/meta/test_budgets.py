"""Loose gates on speed: a ratio that falls to half of what is usual fails.

The budgets themselves are measured by `python -m benchmarks`, on a quiet machine.
"""

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bench_append, bench_cli_startup, bench_dispatch, bench_projection, bench_replay, bench_waits
from benchmarks.rounds import reached

pytestmark = pytest.mark.timeout(300)

LEAST_ROUNDS, MOST_ROUNDS = 3, 25
"""A quiet machine reaches each floor in the first few; a busy one takes more. What has become slow never does."""


@pytest.fixture(autouse=True)
def fresh_heap() -> Iterator[None]:
    """Keep what the tests before have left out of the collector's sight: it would look through it in each round."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def keeps(ours: Callable[[], float], limit: Callable[[], float], floor: float) -> None:
    """Check the speed of ours, where the limit's is 1."""
    assert reached(ours, limit, floor, least=LEAST_ROUNDS, most=MOST_ROUNDS) >= floor


def runs(way: Callable[..., Coroutine[Any, Any, float]], *arguments: object) -> Callable[[], float]:
    return lambda: asyncio.run(way(*arguments))


def test_dispatch_is_not_far_behind_a_bare_loop():
    ours, bare = (runs(way, 10_000, bench_dispatch.TURN) for way in (bench_dispatch.microlith, bench_dispatch.bare))

    keeps(ours, bare, 0.22)


def test_dispatch_is_not_slowed_down_much_by_a_follower():
    followed = runs(partial(bench_dispatch.microlith_followed, reading=True), 10_000, bench_dispatch.TURN)
    alone = runs(bench_dispatch.microlith, 10_000, bench_dispatch.TURN)

    keeps(followed, alone, 0.6)


@pytest.mark.parametrize("waiters", [1, 1_000])
def test_waits_are_not_far_behind_a_dictionary_of_futures(waiters: int):
    ours, bare = (runs(way, 3_000, waiters) for way in (bench_waits.microlith, bench_waits.bare))

    keeps(ours, bare, 0.25)


def test_cost_of_a_wait_hardly_grows_with_the_number_of_waits():
    many, one = runs(bench_waits.microlith, 10_000, 10_000), runs(bench_waits.microlith, 3_000, 1)

    keeps(many, one, 0.35)


def test_append_is_not_far_behind_a_bare_group_commit():
    ours, bare = (
        bench_append.in_folder(partial(way, 2_000, bench_append.CALLERS))
        for way in (bench_append.store, bench_append.bare)
    )

    keeps(ours, bare, 0.35)


def test_replay_is_not_far_behind_bare_validation(tmp_path: Path):
    bench_replay.fill_bare(tmp_path, 5_000)
    asyncio.run(bench_replay.fill_store(tmp_path, 5_000))

    ours, bare = runs(bench_replay.typed, tmp_path, 5_000), partial(bench_replay.bare, tmp_path, 5_000)

    keeps(ours, bare, 0.42)


@pytest.mark.parametrize("question", ["--help", "--version"])
def test_tool_answers_nearly_as_soon_as_python_starts(question: str):
    ours = partial(bench_cli_startup.processor_time, bench_cli_startup.microlith(question))
    bare = partial(bench_cli_startup.processor_time, [sys.executable, "-c", "pass"])

    keeps(ours, bare, 0.5)


def test_memory_stays_flat_while_a_log_is_replayed_into_a_projection(tmp_path: Path):
    memory = bench_projection.Memory()
    asyncio.run(bench_replay.fill_store(tmp_path, 20_000))

    asyncio.run(bench_projection.rebuild(tmp_path, 20_000, memory))

    assert memory.flat, memory.report()


def taking(*seconds: float) -> Callable[[], float]:
    """Work whose rounds take so long; the last one for all later ones. The first round is not counted."""
    rounds = chain(seconds, repeat(seconds[-1]))
    return lambda: next(rounds)


@pytest.fixture
def no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "collect", lambda: 0)  # no real rounds, which it could disturb


@pytest.mark.usefixtures("no_collection")
def test_a_speed_that_is_disturbed_at_first_is_found():
    limit = taking(1.0, 1.5, 1.0)

    assert reached(taking(9.0, 6.0, 5.0, 7.0, 3.0, 1.5), limit, 0.5, least=2, most=6) == pytest.approx(1 / 1.5)


@pytest.mark.usefixtures("no_collection")
def test_a_speed_that_is_too_low_is_found_in_no_round():
    limit = taking(1.0, 1.9, 1.0, 1.4, 1.2)

    assert reached(taking(4.0, 4.0, 4.5, 2.1), limit, 0.5, least=2, most=6) == pytest.approx(1 / 2.1)
