"""The watcher: which changes of real files are a save."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from microlith_cli.supervisor.bytecode import forget_bytecode
from microlith_cli.supervisor.watching import Watcher


@pytest.fixture
async def saves(tmp_path) -> AsyncIterator[asyncio.Queue[set[Path]]]:
    """The saves in a project that has `shop/app.py`, as the watcher reports them."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "app.py").touch()
    (tmp_path / ".microlith").mkdir()
    found: asyncio.Queue[set[Path]] = asyncio.Queue()
    watching = asyncio.create_task(Watcher(tmp_path, found.put_nowait).run())
    # What is saved before the kernel watches is not seen: save until it does.
    for number in range(200):
        (tmp_path / "shop" / "first.py").write_text(str(number))
        (tmp_path / "first.toml").write_text(str(number))
        await asyncio.sleep(0.02)
        if found.qsize() > 1:
            break
    while await soon(found) is not None:
        pass
    yield found
    watching.cancel()
    await asyncio.wait([watching])


async def soon(saves):
    """The paths of the next save, or None when there is none for a while."""
    try:
        return await asyncio.wait_for(saves.get(), 0.2)
    except TimeoutError:
        return None


@pytest.mark.parametrize("name", ["shop/app.py", "shop/new.py", "pyproject.toml", "shop/settings.toml", "top.py"])
async def test_saved_source_is_a_save(saves, tmp_path, name):
    (tmp_path / name).write_text("x = 1")

    assert await asyncio.wait_for(saves.get(), 5) == {tmp_path / name}


@pytest.mark.parametrize(
    "name", [".microlith/x.py", "shop/__pycache__/app.py", "shop/.#app.py", "shop/app.py~", "notes.txt", ".venv/x.py"]
)
async def test_other_files_are_no_save(saves, tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)

    (tmp_path / name).write_text("x = 1")

    assert await soon(saves) is None


async def test_file_that_is_replaced_as_editors_do_is_a_save(saves, tmp_path):
    (tmp_path / "shop" / ".app.py.swp").write_text("x = 1")

    (tmp_path / "shop" / ".app.py.swp").replace(tmp_path / "shop" / "app.py")

    assert await asyncio.wait_for(saves.get(), 5) == {tmp_path / "shop" / "app.py"}


async def test_removed_source_is_a_save(saves, tmp_path):
    (tmp_path / "shop" / "app.py").unlink()

    assert await asyncio.wait_for(saves.get(), 5) == {tmp_path / "shop" / "app.py"}


async def test_folder_that_is_moved_away_is_a_save(saves, tmp_path):
    (tmp_path / "shop").rename(tmp_path / ".attic")

    assert await asyncio.wait_for(saves.get(), 5) == {tmp_path / "shop"}


@pytest.mark.parametrize("parent", ["", "shop"])
async def test_new_folder_with_code_is_a_save_and_is_watched(saves, tmp_path, parent):
    made = tmp_path / parent / "billing"
    outside = tmp_path / ".made"
    outside.mkdir()
    (outside / "a.py").touch()

    outside.rename(made)
    first = await asyncio.wait_for(saves.get(), 5)
    (made / "b.py").touch()
    second = await asyncio.wait_for(saves.get(), 5)

    assert (first, second) == ({made}, {made / "b.py"})


async def test_project_that_is_removed_ends_nothing(saves, tmp_path):
    shutil.rmtree(tmp_path / "shop")

    assert await asyncio.wait_for(saves.get(), 5)


def test_bytecode_of_a_saved_file_is_forgotten_and_no_other(tmp_path):
    cache = tmp_path / "__pycache__"
    cache.mkdir()
    for name in ("app.cpython-311.pyc", "app.cpython-313.opt-1.pyc", "application.cpython-311.pyc"):
        (cache / name).touch()

    forget_bytecode([tmp_path / "app.py", tmp_path / "pyproject.toml", tmp_path / "gone" / "x.py"])

    assert [path.name for path in cache.iterdir()] == ["application.cpython-311.pyc"]
