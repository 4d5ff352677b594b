"""Erasing what is kept outside of the log: rows in a database of the application's own, and messages that are scheduled."""

import asyncio
import sqlite3
from collections.abc import Iterator
from typing import Annotated

import pytest

from microlith import Command, Component, Event, Microlith, Personal, RecordedEvent
from microlith.application.erasing import UnknownSubjectError
from microlith.application.outside import OutsideFollower


class Join(Command):
    """Ask to be a member."""

    who: str
    name: Annotated[str, Personal("who")]


class Joined(Event):
    """There is one member more."""

    who: str
    name: Annotated[str, Personal("who")]


class Directory:
    """The second database, which outlives each application."""

    def __init__(self) -> None:
        self.rows = sqlite3.connect(":memory:", isolation_level=None)
        self.rows.execute("CREATE TABLE members (position INTEGER PRIMARY KEY, name TEXT)")
        self.refuses_to_be_emptied = False
        self.slow = False

    def names(self) -> list[str]:
        return [name for (name,) in self.rows.execute("SELECT name FROM members ORDER BY position")]

    def app(self, store: str, *, resets: bool = True) -> Microlith:
        club = Component("club")
        search = club.external_projection("search")

        @search.on(Joined)
        async def add(event: Joined, recorded: RecordedEvent) -> None:
            if self.slow:
                await asyncio.sleep(0.001)
            self.rows.execute("INSERT OR REPLACE INTO members VALUES (?, ?)", (recorded.position, event.name))

        if resets:

            @search.reset
            async def clear() -> None:
                if self.refuses_to_be_emptied:
                    raise OSError("the directory does not answer")
                self.rows.execute("DELETE FROM members")

        @club.handles(Join)
        async def join(command: Join) -> Joined:
            return Joined(who=command.who, name=command.name)

        return Microlith("club", [club], store=store)


async def fill(app: Microlith, *people: str) -> None:
    for who in people:
        app.event_bus.dispatch(Joined(who=who, name=f"{who} the member"))
    assert await app.idle()


@pytest.fixture
def directory() -> Iterator[Directory]:
    made = Directory()
    yield made
    made.rows.close()


@pytest.fixture(params=["memory:", "sqlite:{}/events.db?durability=fast"])
def store(request, tmp_path):
    return request.param.format(tmp_path)


async def test_rows_elsewhere_are_emptied_and_built_anew(store, directory):
    async with directory.app(store) as app:
        await fill(app, "ann", "bob", "ann")
        counted = await app.erase("ann", dry_run=True)
        before = directory.names()
        erased = await app.erase("ann")

    assert before == ["ann the member", "bob the member", "ann the member"]
    assert directory.names() == ["[erased]", "bob the member", "[erased]"]
    assert (counted.outside, counted.elsewhere, counted.projections) == (("club.search",), (), ())
    assert (erased.projections, erased.elsewhere, erased.stopped) == (("club.search",), (), {})


async def test_rows_that_nobody_can_empty_are_named(store, directory):
    async with directory.app(store, resets=False) as app:
        await fill(app, "ann")
        erased = await app.erase("ann")

    assert directory.names() == ["ann the member"]
    assert (erased.projections, erased.outside, erased.elsewhere) == ((), (), ("club.search",))


async def test_rows_that_could_not_be_emptied_are_named_and_emptied_by_the_next_start(tmp_path, directory):
    store = f"sqlite:{tmp_path}/events.db?durability=fast"
    async with directory.app(store) as app:
        await fill(app, "ann")
        directory.refuses_to_be_emptied = True
        erased = await app.erase("ann")
    directory.refuses_to_be_emptied = False
    left = directory.names()
    async with directory.app(store) as app:
        assert await app.idle()

    assert erased.elsewhere == ("club.search",)
    assert "does not answer" in erased.stopped["club.search"]
    assert (left, directory.names()) == (["ann the member"], ["[erased]"])


async def test_an_erasure_that_ends_before_rows_elsewhere_are_built_is_finished_by_the_next_start(
    tmp_path, directory, monkeypatch
):
    store = f"sqlite:{tmp_path}/events.db?durability=fast"

    async def die(*_: object) -> None:
        raise RuntimeError("the process is gone")

    with monkeypatch.context() as patched:
        patched.setattr(OutsideFollower, "step", die)
        patched.setattr(OutsideFollower, "whole", die)
        app = directory.app(store)
        await app.start()
        await app.event_bus.dispatch(Joined(who="ann", name="ann the member"))
        directory.rows.execute("INSERT INTO members VALUES (0, 'ann the member')")
        with pytest.raises(RuntimeError, match="gone"):
            await app.erase("ann")
        await app.stop()
    async with directory.app(store) as app:
        assert await app.idle()

    assert directory.names() == ["[erased]"]


async def test_what_is_being_written_elsewhere_while_it_is_erased_is_gone_afterwards(store, directory):
    directory.slow = True
    async with directory.app(store) as app:
        for number in range(200):
            app.event_bus.dispatch(Joined(who=("ann", "bob")[number % 2], name=f"member {number}"))
        await asyncio.sleep(0.03)
        await app.erase("ann")
        assert await app.idle()

    assert directory.names() == [("[erased]", f"member {number}")[number % 2] for number in range(200)]


async def test_scheduled_messages_are_counted(store, directory):
    async with directory.app(store) as app:
        await app.command_bus.dispatch(Join(who="ann", name="ann the member"), after=3600)
        await app.command_bus.dispatch(Join(who="bob", name="bob the member"), after=3600)
        counted = await app.erase("ann", dry_run=True)
        erased = await app.erase("ann")
        names = [schedule.envelope.message.model_dump()["name"] for schedule in await app.schedules()]
        with pytest.raises(UnknownSubjectError):
            await app.erase("ann")

    assert (counted.schedules, erased.schedules, erased.events) == (1, 1, 0)
    assert sorted(names) == ["[erased]", "bob the member"]
