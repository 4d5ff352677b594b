"""A single flipped bit in a store's files is noticed, or changes nothing that is served.

`MICROLITH_FLIPS` sets the number of flips, `MICROLITH_SEED` repeats a run.
"""

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from microlith.context import correlated
from microlith.errors import CorruptionError, StoreError
from microlith.event_store.protocol import Settlement, Unit
from microlith.testing.event_store_contract.stock import (
    CountStock,
    ItemStored,
    StockProjection,
    StoreUnderTest,
    all_facts,
)
from tests.crash.store_load import HANDLER, stock_on

FLIPS = int(os.environ.get("MICROLITH_FLIPS", "200"))
EVENTS = 150

Served = tuple[list[Any], list[Any]]


async def fill(path: Path) -> StoreUnderTest:
    """Open a store and write events, commands and settlements."""
    stock = stock_on(path)
    await stock.store.open([StockProjection()])
    for number in range(EVENTS):
        await stock.append(f"stream-{number % 3}", f"item {number}")
        command = correlated(CountStock(shelf=f"shelf {number}"))
        await stock.record(command)
        if number % 2:
            await stock.complete(Unit([correlated(ItemStored(item="counted"))], Settlement(HANDLER, command)))
    return stock


async def served(path: Path) -> Served:
    """Open a store and return the whole log, and what it finds in indexes: streams, a correlation, commands."""
    stock = stock_on(path)
    await stock.store.open([StockProjection()])
    try:
        log = await stock.whole_log()
        found = [event for number in range(3) for event in await stock.store.read(f"stream-{number}")]
        found += await stock.store.read_correlation(log[0].correlation_id)
        pending = await stock.store.pending_commands()
        commands = [(one.sequence, one.envelope.message_id, one.envelope.message) for one in pending]
        return all_facts(log), [*all_facts(found), *commands]
    finally:
        await stock.store.close()


async def notices_when_asked(path: Path) -> bool:
    """Tell whether checking everything finds damage."""
    stock = stock_on(path)
    await stock.store.open([StockProjection()])
    try:
        await stock.store.verify()
    except CorruptionError:
        return True
    finally:
        await stock.store.close()
    return False


async def flip_and_compare(directory: Path, original: Path, suffix: str, flips: int, chance: random.Random) -> int:
    """Flip one bit in a copy, again and again; return how often that was noticed."""
    log, found = await served(copy_of(original, directory / "sound"))
    noticed = 0
    for _ in range(flips):
        copy = copy_of(original, directory / "copy")
        place = flip(Path(f"{copy}{suffix}"), chance)
        try:
            log_then, found_then = await served(copy)
        except StoreError:
            noticed += 1
        else:
            assert log_then == log, f"byte {place} was changed, and something else is served"
            strange = [one for one in found_then if one not in found]
            assert not strange, f"byte {place} was changed, and something is found where it is not"
            # An index has no checksums: what is lost in one is noticed by verifying, and never by reading wrongly.
            assert len(found_then) == len(found) or await notices_when_asked(copy), f"byte {place} hides something"
        shutil.rmtree(directory / "copy")
    return noticed


def flip(file: Path, chance: random.Random) -> int:
    """Flip one bit of a file; return its place."""
    content = bytearray(file.read_bytes())
    place = chance.randrange(len(content))
    content[place] ^= 1 << chance.randrange(8)
    file.write_bytes(content)
    return place


def copy_of(original: Path, directory: Path) -> Path:
    """Copy a store's files into a folder of their own."""
    shutil.copytree(original.parent, directory)
    return directory / original.name


@pytest.mark.crash
@pytest.mark.timeout(300)
async def test_flipped_bit_in_a_database_is_noticed_or_harmless(tmp_path: Path, seed: int):
    stock = await fill(tmp_path / "original" / "events.db")
    await stock.store.close()

    noticed = await flip_and_compare(tmp_path, tmp_path / "original" / "events.db", "", FLIPS // 2, random.Random(seed))

    assert noticed > 0


@pytest.mark.crash
@pytest.mark.timeout(300)
async def test_flipped_bit_in_a_write_ahead_log_is_noticed_or_harmless(tmp_path: Path, seed: int):
    stock = await fill(tmp_path / "original" / "events.db")
    killed = copy_of(tmp_path / "original" / "events.db", tmp_path / "killed")
    await stock.store.close()

    noticed = await flip_and_compare(tmp_path, killed, "-wal", FLIPS // 2, random.Random(seed))

    assert noticed > FLIPS // 8, "most of this log holds what is nowhere else"


@pytest.mark.crash
async def test_the_same_checks_catch_bytes_that_are_served_unchecked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def ignore(*_: object) -> int:
        return 0

    for module in ("batch", "codec"):
        monkeypatch.setattr(f"microlith.event_store.database.{module}.crc32", ignore)
    stock = await fill(tmp_path / "original" / "events.db")
    await stock.store.close()

    with pytest.raises((AssertionError, ValueError)):
        await flip_and_compare(tmp_path, tmp_path / "original" / "events.db", "", 300, random.Random(1))
