"""The application: which store it opens, and that it may be started and stopped again and again."""

import asyncio
import threading
from pathlib import Path

from microlith.testing import in_memory
from tests.unit.runtime.shop import AccountCountRequest, AccountOpenedEvent, OpenAccount, make_shop


async def test_the_environment_names_the_store(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MICROLITH_STORE_URL", f"sqlite:{tmp_path}/other.db")

    async with make_shop(store=f"sqlite:{tmp_path}/declared.db"):
        pass

    assert (tmp_path / "other.db").exists()
    assert not (tmp_path / "declared.db").exists()


async def test_a_test_in_memory_stays_in_memory_whatever_the_environment_says(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MICROLITH_STORE_URL", f"sqlite:{tmp_path}/other.db")

    async with in_memory(make_shop(store=f"sqlite:{tmp_path}/declared.db")) as app:
        await app.command_bus.execute(OpenAccount(email="a@b.c"), until=AccountOpenedEvent)

    assert not (tmp_path / "other.db").exists()
    assert not (tmp_path / "declared.db").exists()


async def test_what_was_stored_is_there_after_a_restart(tmp_path: Path):
    store = f"sqlite:{tmp_path}/events.db"
    async with make_shop(store=store) as app:
        await app.command_bus.execute(OpenAccount(email="a@b.c"), until=AccountOpenedEvent)

    async with make_shop(store=store) as app:
        count = await app.query_bus.ask(AccountCountRequest())

    assert count.count == 1


async def test_thirty_starts_and_stops_leave_nothing_behind(tmp_path: Path):
    app = make_shop(store=f"sqlite:{tmp_path}/events.db", root=tmp_path)
    await _cycle(app, 0)
    threads, files, tasks = threading.active_count(), _open_files(), len(asyncio.all_tasks())

    for number in range(1, 30):
        await _cycle(app, number)

    assert threading.active_count() <= threads
    assert _open_files() <= files
    assert len(asyncio.all_tasks()) == tasks


async def _cycle(app, number: int) -> None:
    async with app:
        await app.command_bus.execute(OpenAccount(email=f"{number}@b.c"), until=AccountOpenedEvent)


def _open_files() -> int:
    directory = Path("/dev/fd")
    return len(list(directory.iterdir()))
