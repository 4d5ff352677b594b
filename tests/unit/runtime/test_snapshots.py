"""Snapshots: they save time, and change nothing."""

import asyncio
import logging
import random
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field, PrivateAttr, SecretStr

from microlith import Aggregate, Command, Component, Decider, Event, Microlith, Streams, decides, evolves
from microlith.aggregates import AggregateError, decider_of
from microlith.context import correlated
from microlith.event_store.protocol import Unit
from microlith.event_store.snapshot import Snapshot
from tests.eventually import eventually


class Change(Command):
    """Change some of everything."""

    book: str
    by: int
    word: str = ""


class Changed(Event):
    """Something changed."""

    by: int
    word: str


class Book(Aggregate, stream="book-{book}", snapshot_every=5):
    """A state of many types."""

    total: Decimal = Decimal(0)
    words: dict[str, int] = Field(default_factory=dict)
    order: list[str] = Field(default_factory=list)
    seen: set[int] = Field(default_factory=set)
    newest: tuple[str, int] | None = None
    code: SecretStr = SecretStr("")

    @decides
    def change(self, command: Change) -> Changed:
        """Anything goes."""
        return Changed(by=command.by, word=command.word)

    @evolves
    def changed(self, event: Changed) -> None:
        """Fold it in, so that order matters."""
        self.total = self.total * 3 + event.by
        self.words[event.word] = self.words.get(event.word, 0) + event.by
        self.order = [*self.order[-3:], event.word]
        self.seen.add(event.by % 7)
        self.newest = (event.word, event.by)
        self.code = SecretStr(event.word)


class Unkept(Book, stream="book-{book}"):
    """The same without snapshots."""

    __snapshot_every__ = None


@pytest.fixture(params=["memory:", "sqlite:{}/events.db"])
def store(request, tmp_path):
    return request.param.format(tmp_path)


def library(store, *, aggregate=Book):
    component = Component("library")
    decider = component.aggregate(aggregate)
    return Microlith("library", [component], store=store), decider


async def change(app, count, *, book="a"):
    for number in range(count):
        await app.command_bus.execute(Change(book=book, by=number, word=f"w{number % 4}"), until=Changed)


async def kept(app, stream="book-a", owner="Book"):
    await app.store.flush()
    return await app.store.snapshot(stream, owner)


def streams_of(app):
    """Return what the application's handlers get as its streams."""
    return app._serving.value(Streams, None)


async def until_kept(app, **options):
    for _ in range(1000):
        if await kept(app, **options) is not None:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("no snapshot was made")


async def test_a_snapshot_is_made_after_so_many_events_and_the_state_is_the_same(store):
    app, decider = library(store)
    async with app:
        await change(app, 4)
        assert await kept(app) is None
        await change(app, 8)
        await until_kept(app)
        await app.idle()

        snapshot = await kept(app)
        state, position = await Streams(app.store).load(decider, "book-a")
        whole, end = await Streams(app.store).load(decider_of(Unkept), "book-a")

    assert 4 <= snapshot.position <= 9
    assert position == end == 11
    assert state.model_dump() == whole.model_dump()
    assert state.code.get_secret_value() == "w3"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    histories=st.lists(
        st.lists(st.tuples(st.integers(-(10**12), 10**12), st.text(max_size=5)), max_size=30), max_size=4
    ),
    every=st.integers(1, 7),
)
async def test_the_state_from_a_snapshot_is_that_of_a_full_fold(histories, every):
    class Kept(Book, stream="book-{book}", snapshot_every=every):
        """With a policy of its own."""

    app, decider = library("memory:", aggregate=Kept)
    async with app:
        streams = streams_of(app)
        for history in histories:
            for by, word in history:
                app.store.complete(Unit([correlated(Changed(by=by, word=word))], None, "book-a", None), lambda *_: None)
            await streams._make_one(decider, "book-a")
            _, position, known = await streams.load_on(decider, "book-a")
            assert position - known < every
        kept_state, position = await streams.load(decider, "book-a")
        whole, end = await streams.load(decider_of(Unkept), "book-a")

    assert position == end
    assert kept_state.model_dump() == whole.model_dump()
    assert list(kept_state.words) == list(whole.words)


async def spoilt(app, spoil):
    """Make a snapshot, change it behind everybody's back, and go on; return the state and the full fold."""
    await change(app, 6)
    await until_kept(app)
    app.store.keep_snapshot(spoil(await kept(app)))
    await app.store.flush()


def remade(one: Snapshot, **changed: Any) -> Snapshot:
    """Change a snapshot so that its checksum is right all the same."""
    new = one._replace(**changed)
    return Snapshot.of(new.stream, new.owner, new.position, new.fingerprint, new.data)


SPOILT = {
    "damaged": lambda one: one._replace(data=one.data.replace(b"w", b"v")),
    "of another shape": lambda one: remade(one, fingerprint="0" * 16),
    "ahead of the stream": lambda one: remade(one, position=1000),
    "not readable": lambda one: remade(one, data=b'{"total":"many"}'),
    "not even JSON": lambda one: remade(one, data=b"\xff"),
}


@pytest.mark.parametrize("how", SPOILT)
async def test_a_snapshot_that_is_of_no_use_is_dropped_told_once_and_made_anew(store, how, caplog):
    app, decider = library(store)
    async with app:
        await spoilt(app, SPOILT[how])
        bad = await kept(app)

        with caplog.at_level(logging.WARNING, "microlith"):
            streams = streams_of(app)
            first, position = await streams.load(decider, "book-a")
            assert await kept(app) is None
            app.store.keep_snapshot(bad)
            await app.store.flush()
            await streams.load(decider, "book-a")
        whole, _ = await streams.load(decider_of(Unkept), "book-a")
        await change(app, 1)
        await change(app, 1)
        await until_kept(app)

        assert (await kept(app)).fingerprint == decider.shape.fingerprint
        assert (await app.store.check_snapshots()).faults == []

    assert position == 5
    assert first.model_dump() == whole.model_dump()
    (told,) = [record.message for record in caplog.records if "snapshot" in record.message]
    assert "was dropped" in told


async def test_snapshots_survive_a_restart_and_are_dropped_when_the_fold_changes(tmp_path):
    url = f"sqlite:{tmp_path}/events.db"
    app, _ = library(url)
    async with app:
        await change(app, 6)
        await until_kept(app)

    class Doubling(Book, stream="book-{book}"):
        """The same fields, folded in another way."""

        def changed(self, event: Changed) -> None:
            self.total += 2 * event.by

        changed = evolves(changed)  # type: ignore[assignment]

    again, same = library(url)
    async with again:
        _, _, known = await streams_of(again).load_on(same, "book-a")
    Doubling.__name__ = "Book"
    changed, doubled = library(url, aggregate=Doubling)
    async with changed:
        state, position, begun = await streams_of(changed).load_on(doubled, "book-a")

    assert known >= 4
    assert (position, begun) == (5, -1)
    assert state.total == 2 * sum(range(6))


def folding(*, extra: bool = False, newer: bool = False, refuses: bool = False) -> str:
    """Declare the same aggregate again, with one thing changed; return its fingerprint."""

    class Newer(Event, version=2 if newer else 1):
        pass

    class Shelf(Aggregate, stream="book-{book}", snapshot_every=5):
        total: int = 0
        if extra:
            more: int = 0

        @decides
        def change(self, command: Change) -> Changed | None:
            """Decide, in one of two ways."""
            return None if refuses and command.by else Changed(by=command.by, word="")

        @evolves
        def newer(self, event: Newer) -> None:
            """Fold."""
            self.total += 1

    shape = decider_of(Shelf).shape
    assert shape is not None
    return shape.fingerprint


def test_the_fingerprint_depends_on_fields_and_events_and_not_on_decisions():
    plain = folding()

    assert folding() == folding(refuses=True) == plain
    assert len({plain, folding(extra=True), folding(newer=True)}) == 3


class Private(Aggregate, stream="book-{book}", snapshot_every=1):
    """Keeps something that no JSON holds."""

    total: int = 0
    _hidden: list[int] = PrivateAttr(default_factory=list)

    @decides
    def change(self, command: Change) -> Changed:
        """Anything goes."""
        return Changed(by=command.by, word="")

    @evolves
    def changed(self, event: Changed) -> None:
        """Keep it where it is not written."""
        self._hidden.append(event.by)


class Counting(Private, stream="book-{book}"):
    """Equal to what is read back, and yet not the same: a missing word fails there."""

    words: dict[str, int] = Field(default_factory=lambda: defaultdict(int))

    @evolves
    def changed(self, event: Changed) -> None:
        """Count on the default."""
        self.words[event.word] += 1


@pytest.mark.parametrize("aggregate", [Private, Counting])
async def test_a_state_that_would_not_come_back_as_it_is_gets_no_snapshot(aggregate, caplog):
    app, decider = library("memory:", aggregate=aggregate)
    async with app:
        await change(app, 3)
        await eventually(lambda: "would not come back" in caplog.text)

        assert (await app.store.check_snapshots()).checked == 0
        state, position = await streams_of(app).load(decider, "book-a")

    assert position == 2
    assert caplog.text.count("would not come back") == 1
    assert state._hidden == [0, 1, 2] or state.words == {"": 3}


@dataclass
class Tally:
    total: int = 0
    words: list[str] = field(default_factory=list)


def anything():
    return Tally()


def tally(**options):
    def evolve(state, event):
        return Tally(state.total + event.by, [*state.words, event.word])

    return Decider(
        "Tally",
        "book-{book}",
        initial=options.pop("initial", Tally),
        decide=lambda _, command: Changed(by=command.by, word=command.word),
        evolve=evolve,
        commands={Change: [Changed]},
        events=[Changed],
        **options,
    )


async def test_a_decider_has_snapshots_too(store):
    component = Component("library")
    decider = component.decider(tally(snapshot_every=3))
    async with Microlith("library", [component], store=store) as app:
        await change(app, 7)
        await until_kept(app, owner="Tally")
        state, _, known = await streams_of(app).load_on(decider, "book-a")

    assert state == Tally(21, [f"w{n % 4}" for n in range(7)])
    assert known >= 2


def test_a_policy_that_makes_no_sense_is_refused():
    with pytest.raises(AggregateError, match="every 0 events"):
        tally(snapshot_every=0)
    with pytest.raises(AggregateError, match="nothing tells the type"):
        tally(snapshot_every=1, initial=anything)
    with pytest.raises(AggregateError, match="cannot be kept"):
        tally(snapshot_every=1, state=random.Random)
    assert tally(snapshot_every=1, initial=anything, state=Tally).shape is not None
