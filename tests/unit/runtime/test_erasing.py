"""Erasing subjects of a running application, on a store in memory and on one in a file."""

import sqlite3
from contextlib import suppress
from typing import Annotated, Any

import pytest

from microlith import Command, Component, Event, HandlerFailedError, Microlith, Personal, ReadModel, Table
from microlith.application.erasing import UnknownSubjectError
from microlith.errors import StoreError
from microlith.event_store.database.keys import KeysLostError
from microlith.privacy.keys import MissingKeyError
from microlith.tracing.log import read_facts


class Move(Command):
    who: str
    address: Annotated[str, Personal("who")]


class Moved(Event):
    who: str
    address: Annotated[str, Personal("who")]


class Home(ReadModel, key="who"):
    who: str
    street: str


class MovedBefore(Event):
    """How it was before the address was marked."""

    who: str
    address: str


async def addresses(app: Microlith) -> list[str]:
    """The addresses in the log, as they are read now."""
    return [event.message.model_dump()["address"] for event in await app.store.read_all()]


def make_town(store: str, *, marked: bool = True, strict: bool = False, **options: Any) -> Microlith:
    """Declare an application; `strict`: its projection does not take what is erased."""
    town = Component("town")
    town.module = "json"  # its messages are those that its functions take; this module has more
    moved: Any = Moved if marked else type("Moved", (MovedBefore,), {"__module__": __name__})
    homes = town.projection("homes", Home)

    @homes.on(moved)
    def note(event: Any, rows: Table[Home]) -> None:
        street, number = event.address.split(" ") if strict else (event.address, "")
        rows.put(Home(who=event.who, street=f"{street} {number}"))

    note.__annotations__["event"] = moved

    if marked:

        @town.handles(Move)
        async def move(command: Move) -> Moved:
            if command.address == "nowhere":
                raise ValueError(f"{command.address} is no address")
            return Moved(who=command.who, address=command.address)

    return Microlith("town", [town], store=store, **options)


@pytest.fixture(params=["memory:", "sqlite:events.db"])
def store(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return request.param


async def test_erasure_tells_what_it_found_and_what_it_did(store):
    async with make_town(store) as app:
        for who, address in (("ann", "Elm 1"), ("bob", "Oak 2"), ("ann", "Elm 3")):
            await app.command_bus.execute(Move(who=who, address=address), until=Moved)
        with suppress(HandlerFailedError):
            await app.command_bus.execute(Move(who="ann", address="nowhere"), until=Moved)
        counted = await app.erase("ann", dry_run=True)
        before = await addresses(app)
        erased = await app.erase("ann")
        after = await addresses(app)
        (letter,) = await app.store.dead_letters()

    assert before == ["Elm 1", "Oak 2", "Elm 3"]
    assert after == ["[erased]", "Oak 2", "[erased]"]
    for one in (counted, erased):
        assert (one.events, one.dead_letters, one.commands, one.plain) == (2, 1, 0, 0)
    assert (counted.done, counted.projections) == (False, ())
    assert (erased.done, erased.projections, erased.stopped) == (True, ("town.homes",), {})
    assert letter.error == "ValueError: *** is no address"


async def test_unknown_subject_is_refused_and_nothing_is_erased(store):
    async with make_town(store) as app:
        await app.event_bus.dispatch(Moved(who="ann", address="Elm 1"))
        with pytest.raises(UnknownSubjectError, match="No personal field is stored for 'eve'") as caught:
            await app.erase("ann", "eve")
        kept = await addresses(app)
        await app.erase("ann")
        with pytest.raises(UnknownSubjectError, match="or it was erased before"):
            await app.erase("ann")

    assert (caught.value.subject, caught.value.plain) == ("eve", 0)
    assert kept == ["Elm 1"]


async def test_projection_that_does_not_take_the_erased_is_named(store):
    async with make_town(store, strict=True) as app:
        await app.event_bus.dispatch(Moved(who="ann", address="Elm 1"))
        await app.event_bus.dispatch(Moved(who="bob", address="Oak 2"))
        erased = await app.erase("ann")

    assert list(erased.stopped) == ["town.homes"]
    assert "ValueError" in erased.stopped["town.homes"]


async def test_events_from_before_the_mark_are_counted_and_stay(tmp_path):
    async with make_town(f"sqlite:{tmp_path}/events.db", marked=False) as app:
        old: Any = app.types.find("Moved").cls
        await app.event_bus.dispatch(old(who="ann", address="Elm 1"))
        await app.event_bus.dispatch(old(who="bob", address="Oak 2"))
    async with make_town(f"sqlite:{tmp_path}/events.db") as app:
        with pytest.raises(UnknownSubjectError, match="1 event holds fields about it in clear"):
            await app.erase("ann")
        await app.event_bus.dispatch(Moved(who="ann", address="Elm 3"))
        erased = await app.erase("ann")
        read = await addresses(app)

    assert (erased.events, erased.plain) == (1, 1)
    assert read == ["Elm 1", "Oak 2", "[erased]"]


async def test_database_that_began_without_personal_fields_is_written_anew_once(tmp_path):
    path = tmp_path / "events.db"
    async with make_town(f"sqlite:{path}", marked=False) as app:
        old: Any = app.types.find("Moved").cls
        for number in range(300):
            await app.event_bus.dispatch(old(who="ann", address=f"Elm {number} {'x' * 100}"))
    with sqlite3.connect(path) as database:  # whatever left free pages behind, with old rows in them
        database.execute("DROP TABLE rows_town_homes__home")
        database.execute("CREATE TABLE rows_town_gone__row (key TEXT)")
        database.execute("INSERT INTO rows_town_gone__row VALUES ('an old row')")
    database.close()
    async with make_town(f"sqlite:{path}") as app:
        await app.event_bus.dispatch(Moved(who="bob", address="Oak 1"))
        await app.erase("bob")
    with sqlite3.connect(path) as database:
        free = database.execute("PRAGMA freelist_count").fetchone()[0]
        noted = dict(database.execute("SELECT name, value FROM meta"))
    database.close()

    assert (free, noted["overwritten"]) == (0, "1")
    assert b"an old row" not in path.read_bytes()


async def test_lost_keys_are_refused_at_start(tmp_path):
    url = f"sqlite:{tmp_path}/events.db"
    async with make_town(url) as app:
        await app.event_bus.dispatch(Moved(who="ann", address="Elm 1"))
    keys = tmp_path / "keys.db"
    mode = keys.stat().st_mode & 0o777
    kept = keys.rename(tmp_path / "kept")
    with pytest.raises(KeysLostError, match=r"keys.db is missing") as missing:
        await make_town(url).start()
    async with make_town(f"sqlite:{tmp_path}/other/events.db"):
        pass
    (tmp_path / "other" / "keys.db").rename(keys)
    with pytest.raises(KeysLostError, match="belongs to other events"):
        await make_town(url).start()
    kept.replace(keys)
    async with make_town(url) as app:
        (event,) = await app.store.read_all()
        message = event.message

    assert (mode, message) == (0o600, Moved(who="ann", address="Elm 1"))
    assert "backup" in missing.value.hint
    assert not isinstance(missing.value, MissingKeyError)
    assert isinstance(missing.value, StoreError)


@pytest.mark.parametrize("holds", ["command", "schedule", "nothing"])
async def test_a_store_that_holds_nothing_goes_on_with_other_keys(tmp_path, holds):
    url = f"sqlite:{tmp_path}/events.db"
    async with make_town(url) as app:
        if holds == "command":
            await app.command_bus.dispatch(Move(who="ann", address="nowhere"))
        elif holds == "schedule":
            await app.command_bus.dispatch(Move(who="ann", address="Elm 1"), after=3600)
    async with make_town(f"sqlite:{tmp_path}/other/events.db"):
        pass
    (tmp_path / "other" / "keys.db").replace(tmp_path / "keys.db")

    if holds == "nothing":
        async with make_town(url) as app:
            await app.event_bus.dispatch(Moved(who="ann", address="Elm 1"))
        async with make_town(url) as app:
            assert await addresses(app) == ["Elm 1"]
    else:
        with pytest.raises(KeysLostError, match="belongs to other events"):
            await make_town(url).start()


async def test_keys_from_an_older_backup_are_an_error_and_no_erasure(tmp_path):
    url, keys = f"sqlite:{tmp_path}/events.db", tmp_path / "keys.db"
    async with make_town(url) as app:
        await app.event_bus.dispatch(Moved(who="ann", address="Elm 1"))
    backup = keys.read_bytes()
    async with make_town(url) as app:
        await app.event_bus.dispatch(Moved(who="bob", address="Oak 2"))
    keys.write_bytes(backup)
    async with make_town(url) as app:
        ann, bob = await app.store.read_all()
        with pytest.raises(MissingKeyError, match="position 1"):
            _ = bob.message
        message = ann.message

    assert message == Moved(who="ann", address="Elm 1")


async def test_application_without_personal_fields_has_no_keys(tmp_path):
    async with make_town(f"sqlite:{tmp_path}/events.db", marked=False) as app:
        with pytest.raises(UnknownSubjectError):
            await app.erase("ann")
        keys = app.types.keys

    assert keys is None
    assert not (tmp_path / "keys.db").exists()


async def test_trace_log_masks_personal_fields_and_begins_anew(tmp_path):
    async with make_town(f"sqlite:{tmp_path}/events.db") as app:
        await app.command_bus.execute(Move(who="ann", address="Elm 1"), until=Moved)
    shown = [fact["data"]["address"] for fact in read_facts(tmp_path) if fact["type"] in ("Move", "Moved")]
    async with make_town(f"sqlite:{tmp_path}/events.db") as app:
        await app.erase("ann")
    left = [fact["type"] for fact in read_facts(tmp_path)]

    assert shown == ["***", "***"]
    assert left == []
