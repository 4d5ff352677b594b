"""After an erasure nothing of the erased is left in any file; whatever interrupts it is made up for."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from microlith.application import erasing
from microlith.event_store.database import erasing as database_erasing
from microlith.event_store.database.statements import statements
from microlith.event_store.sqlite.keys import SQLiteKeys
from microlith.event_store.sqlite.writer import SQLiteWriter
from tests.crash.people import GONE, STAYS, STEPS, SUBJECTS, UserRequest, files_holding, make_people, plant

ROOT = Path(__file__).parents[2]


def keys_of(app, *subjects: str) -> list[bytes]:
    """The secrets of some subjects' keys."""
    ring = app.types.keys
    return [ring.key_for(subject).secret for subject in subjects]


def holding_bytes(directory: Path, secrets: list[bytes]) -> list[str]:
    found = [one for one in directory.rglob("*") if one.is_file() for secret in secrets if secret in one.read_bytes()]
    return sorted({one.name for one in found})


async def shown(app) -> str:
    """Everything that the application tells about its store, as text."""
    events = [repr(event.message) for event in await app.store.read_all(limit=1000)]
    exported = [event.data.decode() for event in await app.store.read_all(limit=1000)]
    letters = [
        f"{letter.data!r} {letter.error} {(await app.store.dead_message(letter)).message!r}"
        for letter in await app.store.dead_letters()
    ]
    rows = [repr(await app.query_bus.ask(UserRequest(user_id=word[:3]))) for word in (GONE, STAYS)]
    return "\n".join([*events, *exported, *letters, *rows])


@pytest.mark.crash
async def test_nothing_of_an_erased_subject_is_left_in_any_file(tmp_path):
    async with make_people(tmp_path) as app:
        await plant(app, GONE)
        await plant(app, STAYS)
        keys = keys_of(app, *SUBJECTS)
        before = [event.data for event in await app.store.read_all(limit=1000)]
        held = files_holding(tmp_path, GONE), holding_bytes(tmp_path, keys)
        snapshot = await app.store.snapshot(f"person-{GONE[:3]}", "Person")
        erased = await app.erase(*SUBJECTS)
        running = files_holding(tmp_path, GONE), holding_bytes(tmp_path, keys)
        said = await shown(app)
        verified = await app.store.verify()
        after = [event.data for event in await app.store.read_all(limit=1000)]
    async with make_people(tmp_path) as app:
        again = await shown(app)

    assert snapshot is not None
    assert GONE.encode() in snapshot.data
    assert held == (["events.db-wal", "trace.jsonl"], ["keys.db-wal"])
    assert (erased.events, erased.dead_letters, erased.plain, erased.projections) == (21, 1, 0, ("people.users",))
    assert running == ([], [])
    assert (files_holding(tmp_path, GONE), holding_bytes(tmp_path, keys)) == ([], [])
    assert GONE not in said + again
    assert said.count(STAYS) == again.count(STAYS) > 20
    assert (after, verified) == (before, 42)


LEFT_OUT: dict[str, Any] = {
    "snapshots": (SQLiteWriter, "_drop", lambda *_: None),
    "read models": (database_erasing, "touched", lambda *_: []),
    "overwriting": (SQLiteWriter, "sweep", lambda *_: None),
    "trace log": (erasing, "remove_trace_log", lambda _: None),
    "key": (SQLiteKeys, "cut_off", lambda _: None),
}


@pytest.mark.crash
@pytest.mark.parametrize("step", LEFT_OUT)
async def test_the_same_checks_catch_an_erasure_that_leaves_out(step, tmp_path, monkeypatch):
    owner, name, nothing = LEFT_OUT[step]
    async with make_people(tmp_path) as app:
        await plant(app, GONE)
        keys = keys_of(app, *SUBJECTS)
        monkeypatch.setattr(owner, name, nothing)
        await app.erase(*SUBJECTS)
        left = files_holding(tmp_path, GONE) + holding_bytes(tmp_path, keys)

    assert left != []


@pytest.mark.crash
async def test_bytes_in_free_pages_are_overwritten(tmp_path, monkeypatch):
    sql = dict(statements("sqlite_keys.sql")) | {"overwrite": "PRAGMA secure_delete = OFF"}
    async with make_people(tmp_path) as app:
        await plant(app, GONE)
        await app.erase(*SUBJECTS)
    sound = files_holding(tmp_path, GONE)
    monkeypatch.setattr("microlith.event_store.sqlite.writer.statements", lambda _: sql)
    (tmp_path / "other").mkdir()
    async with make_people(tmp_path / "other") as app:
        monkeypatch.undo()
        await plant(app, GONE)
        await app.erase(*SUBJECTS)

    assert sound == []
    assert files_holding(tmp_path, GONE) == ["other/events.db"]  # which is what the setting is for


@pytest.mark.crash
@pytest.mark.parametrize("step", STEPS)
async def test_an_erasure_that_is_killed_is_finished_by_the_next_start(step, tmp_path):
    command = [sys.executable, "-m", "tests.crash.people", str(tmp_path), step]
    killed = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, timeout=50, check=False, capture_output=True)
    begun = step != "before the keys"
    async with make_people(tmp_path) as app:
        keys = app.types.keys
        unfinished = keys is None or keys.unfinished
        running = files_holding(tmp_path, GONE)
        said = await shown(app)
        verified = await app.store.verify()
    left = files_holding(tmp_path, GONE)
    secrets = [bytes.fromhex(line) for line in killed.stdout.decode().split()]

    assert killed.returncode == -signal.SIGKILL
    assert (unfinished, verified) == (False, 42)
    assert (left == []) == (running == []) == (GONE not in said) == begun
    assert (holding_bytes(tmp_path, secrets) == []) == begun
    assert (len(secrets), said.count(STAYS) > 20) == (2, True)
