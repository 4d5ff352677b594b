"""A store whose database is away for a moment: what was under way waits for it, and nobody takes it for a failure.

With real servers see tests/crash/test_postgres_goes_away.py; here the moments are chosen.
"""

import pytest

from microlith import Command, Component, Event, Microlith, ReadModel, Table, View
from microlith.delivery import arriving, completion, patience
from microlith.errors import StoreAwayError
from microlith.event_store.database.store import DatabaseEventStore
from microlith.testing.memory_broker import MemoryBroker
from microlith.transports import Topic, Topology
from tests.eventually import eventually
from tests.unit.transports.agency import agency
from tests.unit.transports.test_arriving import parcel


class Weigh(Command):
    parcel: str


class WeighedEvent(Event):
    parcel: str


class Parcel(ReadModel, key="parcel"):
    parcel: str


@pytest.fixture(autouse=True)
def pause(monkeypatch):
    for module in (arriving, completion, patience):
        monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)


@pytest.fixture(params=["memory:", "sqlite:events.db"])
def store(request):
    return request.param


class Away:
    """Raises some times, then does as it should."""

    def __init__(self, real=None, times=3):
        self.real = real
        self.left = times

    def __call__(self, *arguments, **options):
        self.check()
        return self.real(*arguments, **options)

    def check(self):
        if self.left:
            self.left -= 1
            raise StoreAwayError("postgresql://shop:***@host/shop", "the server does not answer")


def post(away: Away, tried: list[str], folded: list[str]) -> Component:
    component = Component("post")
    parcels = component.projection("parcels", Parcel)
    outside = component.external_projection("outside")

    @component.handles(Weigh)
    async def weigh(command: Weigh, view: View[Parcel]) -> WeighedEvent:
        tried.append(command.parcel)
        away.check()
        assert await view.get(command.parcel) is None
        return WeighedEvent(parcel=command.parcel)

    @parcels.on(WeighedEvent)
    def note(event: WeighedEvent, table: Table[Parcel]) -> None:
        table.put(Parcel(parcel=event.parcel))

    @outside.on(WeighedEvent)
    def tell(event: WeighedEvent) -> None:
        folded.append(event.parcel)

    return component


async def test_handler_that_cannot_read_is_called_again_in_its_place(store, tmp_path):
    tried: list[str] = []
    async with Microlith("post", [post(Away(), tried, [])], store=store, root=tmp_path) as app:
        first = app.command_bus.dispatch(Weigh(parcel="a"))
        await app.command_bus.execute(Weigh(parcel="b"), until=WeighedEvent)
        await app.event_bus.wait_for(first.correlation_id, WeighedEvent)
        assert await app.idle()
        letters = await app.store.dead_letters()

    assert tried == ["a", "a", "a", "a", "b"]
    assert letters == []


async def test_commit_that_finds_the_store_away_is_done_again(store, tmp_path, monkeypatch):
    async with Microlith("post", [post(Away(times=0), [], [])], store=store, root=tmp_path) as app:
        real, left = app.store.complete, [3]

        def complete(unit, done):
            if unit.settlement is not None and left[0]:
                left[0] -= 1
                done(None, StoreAwayError("postgresql://host/shop", "the keys are away"))
            else:
                real(unit, done)

        monkeypatch.setattr(app.store, "complete", complete)
        await app.command_bus.execute(Weigh(parcel="a"), until=WeighedEvent)
        assert await app.idle()
        events = await app.store.read_all()
        letters = await app.store.dead_letters()

    assert left == [0]
    assert [event.message for event in events] == [WeighedEvent(parcel="a")]
    assert letters == []


async def test_external_projection_that_finds_the_store_away_goes_on_later(tmp_path, monkeypatch):
    folded: list[str] = []
    away = Away(times=1)
    component = post(Away(times=0), [], folded)
    slow = component.external_projection("slow")

    @slow.on(WeighedEvent)
    def tell(event: WeighedEvent) -> None:
        away.check()
        folded.append(f"slow {event.parcel}")

    async with Microlith("post", [component], store="sqlite:events.db", root=tmp_path) as app:
        await app.command_bus.execute(Weigh(parcel="a"), until=WeighedEvent)
        await eventually(lambda: "slow a" in folded, 20)
        standings = await app.projections()

    assert [standing.error for standing in standings] == [None, None, None]


async def test_command_that_came_and_failed_is_settled_when_the_keys_are_back(tmp_path, monkeypatch):
    broker = MemoryBroker()
    async with agency(broker, "booking", store="sqlite:events.db", root=tmp_path) as app:
        assert isinstance(app.store, DatabaseEventStore)
        monkeypatch.setattr(app.store, "_letter", away := Away(app.store._letter))
        stranger = broker.connect("")
        await stranger.open(Topology("agency"))
        await stranger.publish([(Topic("command", "booking.book"), parcel("one", trip="nowhere"))])
        held = [transport for transport in broker.transports if transport is not stranger]
        await eventually(lambda: app.handled and not away.left, 20)
        await eventually(lambda: not any(held_ for one in held for held_ in one._unsettled.values()), 20)
        await app.store.flush()
        (letter,) = await app.store.dead_letters()

    assert app.handled == ["book nowhere"]
    assert b"nowhere" in letter.data
