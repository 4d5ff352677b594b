"""Loose gates on speed: a ratio that falls to half of what is usual fails.

The budgets themselves are measured by `python -m benchmarks`, on a quiet machine.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bench_append, bench_cli_startup, bench_dispatch, bench_projection, bench_replay, bench_waits
from benchmarks.rounds import Contestant, Results, measure

pytestmark = pytest.mark.timeout(120)

ROUNDS = 5


def compared(ours: Callable[[], float], limit: Callable[[], float]) -> float:
    """The speed of ours, where the limit's is 1, in the best rounds of both."""
    results: Results = measure([Contestant("ours", ours), Contestant("limit", limit)], ROUNDS)
    return results.best_speed("ours", "limit")


def runs(way: Callable[..., Coroutine[Any, Any, float]], *arguments: object) -> Callable[[], float]:
    return lambda: asyncio.run(way(*arguments))


def test_dispatch_is_not_far_behind_a_bare_loop():
    ours, bare = (runs(way, 10_000, bench_dispatch.TURN) for way in (bench_dispatch.microlith, bench_dispatch.bare))

    assert compared(ours, bare) >= 0.22


def test_dispatch_is_not_slowed_down_much_by_a_follower():
    followed = runs(partial(bench_dispatch.microlith_followed, reading=True), 10_000, bench_dispatch.TURN)
    alone = runs(bench_dispatch.microlith, 10_000, bench_dispatch.TURN)

    assert compared(followed, alone) >= 0.6


@pytest.mark.parametrize("waiters", [1, 1_000])
def test_waits_are_not_far_behind_a_dictionary_of_futures(waiters: int):
    ours, bare = (runs(way, 3_000, waiters) for way in (bench_waits.microlith, bench_waits.bare))

    assert compared(ours, bare) >= 0.25


def test_cost_of_a_wait_hardly_grows_with_the_number_of_waits():
    many, one = runs(bench_waits.microlith, 10_000, 10_000), runs(bench_waits.microlith, 3_000, 1)

    assert compared(many, one) >= 0.25


def test_append_is_not_far_behind_a_bare_group_commit():
    ours, bare = (
        bench_append.in_folder(partial(way, 2_000, bench_append.CALLERS))
        for way in (bench_append.store, bench_append.bare)
    )

    assert compared(ours, bare) >= 0.35


def test_replay_is_not_far_behind_bare_validation(tmp_path: Path):
    bench_replay.fill_bare(tmp_path, 5_000)
    asyncio.run(bench_replay.fill_store(tmp_path, 5_000))

    ours, bare = runs(bench_replay.typed, tmp_path, 5_000), partial(bench_replay.bare, tmp_path, 5_000)

    assert compared(ours, bare) >= 0.42


@pytest.mark.parametrize("question", ["--help", "--version"])
def test_tool_answers_nearly_as_soon_as_python_starts(question: str):
    ours = partial(bench_cli_startup.processor_time, bench_cli_startup.microlith(question))
    bare = partial(bench_cli_startup.processor_time, [sys.executable, "-c", "pass"])

    assert compared(ours, bare) >= 0.5


def test_memory_stays_flat_while_a_log_is_replayed_into_a_projection(tmp_path: Path):
    memory = bench_projection.Memory()
    asyncio.run(bench_replay.fill_store(tmp_path, 20_000))

    asyncio.run(bench_projection.rebuild(tmp_path, 20_000, memory))

    assert memory.flat, memory.report()
