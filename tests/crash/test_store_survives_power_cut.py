"""A power cut: only what was synced is on the disk, and of that the store loses nothing it acknowledged.

The process writes through a library that copies files to a shadow when they are synced; after it is killed, the
shadow is what the disk holds. In its fast mode the store may lose the newest commits, and what is left is the
log up to some position. `MICROLITH_CUTS` sets the number of power cuts, `MICROLITH_SEED` repeats a run.
"""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from microlith.testing.event_store_contract.stock import StockProjection, StoreUnderTest, all_facts
from tests.crash.store_checks import Books, History, load_server
from tests.crash.store_load import stock_on

CUTS = int(os.environ.get("MICROLITH_CUTS", "40"))
MESSAGES_A_TRIAL = 100_000
SOME_CHANGES, MOST_CHANGES = 50, 2000


async def cut_power(directory: Path, library: str, cuts: int, durability: str, seed: int) -> AsyncIterator[Books]:
    """Kill stores under load again and again; yield the books of each, with its files and its shadow left behind."""
    chance = random.Random(seed)
    root, shadow = directory / "root", directory / "shadow"
    root.mkdir()
    shadow.mkdir()
    environment = {"LD_PRELOAD": library, "FAULT_ROOT": str(root), "FAULT_SHADOW": str(shadow)}
    with load_server(**environment) as server:
        for trial in range(cuts):
            pid = server.start(root / f"{trial}.db", trial * MESSAGES_A_TRIAL, durability, "sound")
            assert server.books.opened.wait(timeout=20)
            await asyncio.sleep(chance.uniform(0.01, 0.3))
            os.kill(pid, signal.SIGKILL)
            assert server.books.gone.wait(timeout=20)
            yield server.books
            server.books.tried.clear()
            server.books.acknowledged.clear()


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[StoreUnderTest]:
    """Open a store as a restart would."""
    stock = stock_on(path)
    await stock.store.open([StockProjection()])
    yield stock
    await stock.store.close()


async def check_each(directory: Path, library: str, cuts: int, durability: str, seed: int) -> int:
    """Cut the power and check every shadow; return how many were checked."""
    trial = 0
    async for books in cut_power(directory, library, cuts, durability, seed):
        await History(directory / "shadow" / f"{trial}.db").check(books, whole=True)
        trial += 1
    return trial


@pytest.mark.crash
@pytest.mark.timeout(600)
async def test_durable_store_loses_nothing_acknowledged(tmp_path: Path, disk_faults: str, seed: int):
    assert await check_each(tmp_path, disk_faults, CUTS, "durable", seed) == CUTS


@pytest.mark.crash
@pytest.mark.timeout(600)
async def test_fast_store_keeps_the_log_up_to_some_position(tmp_path: Path, disk_faults: str, seed: int):
    trial = 0
    async for _ in cut_power(tmp_path, disk_faults, CUTS // 4, "fast", seed):
        async with opened(tmp_path / "root" / f"{trial}.db") as written:
            everything = all_facts(await written.whole_log())
        async with opened(tmp_path / "shadow" / f"{trial}.db") as left:
            found = all_facts(await left.whole_log())
            assert await left.store.verify() == len(found)
            assert left.folded() == len(found)
        assert found == everything[: len(found)]
        trial += 1


@pytest.mark.crash
@pytest.mark.timeout(600)
async def test_store_killed_before_any_change_of_its_files_loses_nothing_acknowledged(tmp_path: Path, disk_faults: str):
    root, shadow = tmp_path / "root", tmp_path / "shadow"
    root.mkdir()
    shadow.mkdir()
    environment = {"LD_PRELOAD": disk_faults, "FAULT_ROOT": str(root), "FAULT_SHADOW": str(shadow)}
    with load_server(**environment) as server:
        for change in range(1, MOST_CHANGES):
            server.start(root / f"{change}.db", 0, "durable", f"{change}")
            assert server.books.gone.wait(timeout=20)
            for directory in (root, shadow):
                await History(directory / f"{change}.db").check(server.books, whole=True)
            if server.books.done.is_set():
                break
            server.books.tried.clear()
            server.books.acknowledged.clear()

    assert SOME_CHANGES < change < MOST_CHANGES - 1, "every change was tried, up to the end"


@pytest.mark.crash
@pytest.mark.timeout(200)
async def test_the_same_checks_catch_commits_that_are_not_synced(tmp_path: Path, disk_faults: str):
    with pytest.raises(AssertionError, match="acknowledged messages are lost"):
        await check_each(tmp_path, disk_faults, 10, "fast", seed=1)
