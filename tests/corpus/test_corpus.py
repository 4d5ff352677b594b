"""Every log that was ever written is read by the code as it is now; the files themselves are never touched."""

import json
import shutil
from hashlib import sha256

import pytest

from microlith.event_store.sqlite import SQLiteEventStore
from microlith.event_store.sqlite.inspecting import SQLiteInspection
from tests.corpus.listing import listing
from tests.corpus.notes import NoteAdded
from tests.corpus.shapes import PriceSetEvent, Reprice, today
from tests.corpus.stored_format import LOGS

EACH = sorted(LOGS.iterdir())


@pytest.fixture(params=EACH, ids=lambda folder: folder.name)
def log(request, tmp_path):
    """A copy of a log; afterwards the original is what it was."""
    original = request.param
    before = {path.name: sha256(path.read_bytes()).digest() for path in original.iterdir()}
    shutil.copytree(original, tmp_path / "log")
    yield tmp_path / "log"
    assert {path.name: sha256(path.read_bytes()).digest() for path in original.iterdir()} == before


def test_there_are_logs():
    assert EACH


async def test_everything_in_a_log_is_read_as_it_was_written(log):
    wiring = today().wire()
    store = SQLiteEventStore(log / "events.db", wiring.types)
    await store.open(wiring.projections)
    try:
        assert await listing(store) == (log / "listing.jsonl").read_text("utf-8").splitlines()
    finally:
        await store.close()


async def test_read_models_rebuilt_from_a_log_are_those_it_holds(log):
    wiring = today().wire()
    store = SQLiteEventStore(log / "events.db", wiring.types)
    await store.open(wiring.projections)
    try:
        for projection in wiring.projections:
            rebuilt = await store.rebuild(projection.name, lambda done, total: None)
            assert rebuilt.before == rebuilt.after
    finally:
        await store.close()


def test_a_log_is_sound_to_whoever_only_looks_into_it(log):
    with SQLiteInspection(log / "events.db") as inspection:
        events = inspection.verify(today().types, lambda done, total: None)
        assert events == inspection.head + 1 > 0


async def test_an_application_carries_a_log_on(log):
    app = today()
    app.store_url = f"sqlite:{log / 'events.db'}"
    before = [json.loads(line) for line in (log / "listing.jsonl").read_text("utf-8").splitlines()]
    left = [line["pending"] for line in before if "pending" in line]
    letters = [line["dead_letter"] for line in before if "dead_letter" in line]
    async with app:
        assert await app.idle()
        added = await app.store.read_all(after=before[0]["head"])
        assert [(event.causation_id, event.message) for event in added] == [
            (one["message_id"], PriceSetEvent(sku=one["fields"]["sku"], cents=one["fields"]["cents"], currency="EUR"))
            for one in left
        ]
        for letter in letters:
            await app.retry_dead_letter(letter)
        await app.command_bus.execute(Reprice(sku="tea", cents=1), until=PriceSetEvent)
        await app.event_bus.dispatch(NoteAdded(text="new"))
        assert await app.idle()

        assert await app.store.dead_letters() == []
        assert await app.store.pending_commands() == []
        kept = await app.store.read_all(limit=before[0]["head"] + 1)
        assert [event.message_id for event in kept] == [
            line["event"]["message_id"] for line in before if "event" in line
        ]
        assert await app.store.verify() == before[0]["head"] + 1 + len(left) + 1 + 2
