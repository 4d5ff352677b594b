"""Asynchronous projections: they follow the log in order, a moment later, alone; and reading one's own writes."""

import asyncio
import logging
from collections.abc import Callable
from time import process_time
from typing import Any, assert_type

import pytest

from microlith import (
    Answer,
    ClosedError,
    Command,
    Component,
    Event,
    HandlerFailedError,
    Microlith,
    ProjectionsBehindError,
    ReadModel,
    Table,
    WaitTimeout,
    correlated,
)
from microlith.application import following
from microlith.errors import SentWhileFoldingError, UnknownProjectionError
from microlith.event_store.protocol import Unit
from tests.eventually import eventually


class Place(Command):
    """Order something."""

    item: str
    times: int = 1


class PlacedEvent(Event):
    """Something was ordered."""

    item: str
    number: int = 0


class ShippedEvent(Event):
    """It went out, a while later."""

    item: str


class Order(ReadModel, key="item"):
    """An order, changed in the commit."""

    item: str


class Shelf(ReadModel, key="item"):
    """An order, seen a moment later."""

    item: str
    newest: tuple[int, ...] = ()
    count: int = 0
    in_order: bool = True


class Shop:
    """An application with an inline projection and one that is not; what the latter does can be changed."""

    def __init__(self, store: str = "memory:") -> None:
        self.poison: Callable[[PlacedEvent], None] = _nothing
        shop = Component("shop")
        self.orders = shop.projection("orders", Order)
        self.shelves = shop.projection("shelves", Shelf, inline=False)

        @self.orders.on(PlacedEvent)
        def ordered(event: PlacedEvent, table: Table[Order]) -> None:
            table.put(Order(item=event.item))

        @self.shelves.on(PlacedEvent)
        def shelved(event: PlacedEvent, table: Table[Shelf]) -> None:
            known = table.get(event.item) or Shelf(item=event.item)
            in_order = known.in_order and event.number in (0, known.count)
            newest = (*known.newest[-2:], event.number)
            table.put(Shelf(item=event.item, newest=newest, count=known.count + 1, in_order=in_order))
            self.poison(event)

        @shop.handles(Place)
        async def place(command: Place) -> list[PlacedEvent]:
            return [PlacedEvent(item=command.item, number=number) for number in range(command.times)]

        @shop.handles(PlacedEvent)
        async def ship(event: PlacedEvent) -> ShippedEvent | None:
            return ShippedEvent(item=event.item) if event.number == 0 else None

        self.component = shop
        self.app = Microlith("shop", [shop], store=store)

    async def place(self, item: str, times: int = 1, **options: Any) -> Any:
        return await self.app.command_bus.execute(Place(item=item, times=times), until=PlacedEvent, **options)

    def shelf(self, item: str) -> Shelf:
        data = self.app.store.rows.get(self.shelves.tables[0], item)
        return Shelf(item=item) if data is None else Shelf.model_validate_json(data)

    def numbers(self, item: str) -> list[int]:
        """The newest three."""
        return list(self.shelf(item).newest)


def _nothing(_event: PlacedEvent) -> None:
    """Do no harm."""


def _fail(_event: PlacedEvent) -> None:
    raise ValueError("no shelf")


@pytest.fixture(params=["memory:", "sqlite"])
def store(request, tmp_path):
    return request.param if request.param == "memory:" else f"sqlite:{tmp_path}/events.db"


async def test_it_follows_every_event_in_order_with_little_delay(store):
    shop = Shop(store)
    async with shop.app as app:
        await shop.place("nut", times=300)
        await app.idle()
        shelf = shop.shelf("nut")

    assert (shelf.count, shelf.in_order) == (300, True)


async def test_it_catches_up_after_a_restart(tmp_path):
    shop = Shop(f"sqlite:{tmp_path}/events.db")
    async with shop.app as app:
        await shop.place("nut")
        await app.idle()
        await app.command_bus.dispatch(Place(item="bolt", times=2000))
        # stopped at once: what is not folded yet is folded after the start

    async with shop.app as app:
        assert await app.idle()
        assert (shop.shelf("nut").count, shop.shelf("bolt").count) == (1, 2000)
        assert shop.shelf("bolt").in_order


async def test_nothing_is_done_while_nothing_happens(store, monkeypatch):
    steps: list[str] = []
    step = following.InsideFollower.step

    async def counted(self: following.InsideFollower) -> None:
        steps.append(self.name)
        await step(self)

    monkeypatch.setattr(following.InsideFollower, "step", counted)
    shop = Shop(store)
    async with shop.app as app:
        await shop.place("nut")
        await app.idle()
        before = len(steps)
        await asyncio.sleep(10 * following.REST_SECONDS)
        quiet = len(steps) - before

    assert before > 0
    assert quiet == 0


async def test_without_one_nobody_watches_the_log(store, monkeypatch):
    component = Component("plain")
    component.projection("orders", Order).on(PlacedEvent)(_nothing)
    async with Microlith("plain", [component], store=store) as app:
        tasks = {task.get_name() for task in asyncio.all_tasks()}

    assert app is not None
    assert not any("projection" in name for name in tasks)


async def test_poison_stops_it_alone_and_is_told(store, caplog):
    shop = Shop(store)
    shop.poison = _fail
    async with shop.app as app:
        await app.event_bus.dispatch(ShippedEvent(item="washer"))
        await shop.place("nut")
        await eventually(lambda: caplog.records)
        await shop.place("bolt")
        assert await app.idle()
        orders, shelves = await app.projections()
        head = await app.store.head()

    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == [
        "Projection shop.shelves stopped before position 1, PlacedEvent: ValueError: no shelf"
    ]
    assert (orders.name, orders.kind, orders.checkpoint, orders.behind, orders.error) == (
        "shop.orders",
        "inline",
        head,
        0,
        None,
    )
    assert (shelves.name, shelves.kind, shelves.checkpoint, shelves.behind, shelves.error, shelves.stopped_at) == (
        "shop.shelves",
        "asynchronous",
        0,
        head,
        "ValueError: no shelf",
        "PlacedEvent",
    )
    assert 0 <= shelves.seconds < 60


async def test_it_goes_on_after_a_restart_with_better_code(tmp_path):
    shop = Shop(f"sqlite:{tmp_path}/events.db")
    shop.poison = _fail
    async with shop.app as app:
        await shop.place("nut")
        await app.idle()

    shop.poison = _nothing
    async with shop.app as app:
        await app.idle()
        assert shop.numbers("nut") == [0]


async def test_it_goes_on_when_it_is_rebuilt(store):
    shop = Shop(store)
    shop.poison = _fail
    async with shop.app as app:
        await shop.place("nut")
        await app.idle()
        with pytest.raises(HandlerFailedError):
            await app.rebuild("shop.shelves")

        shop.poison = _nothing
        rebuilt = await app.rebuild("shop.shelves")
        await shop.place("bolt")
        await app.idle()

        assert rebuilt.before != rebuilt.after
        assert (shop.numbers("nut"), shop.numbers("bolt")) == ([0], [0])


async def test_it_sends_nothing_either(store):
    def send(event: PlacedEvent) -> None:
        shop.app.event_bus.dispatch(ShippedEvent(item=event.item))

    shop = Shop(store)
    shop.poison = send
    async with shop.app as app:
        await shop.place("nut")
        await app.idle()
        (_, shelves) = await app.projections()
        shipped = [event.type for event in await app.store.read_all()].count("ShippedEvent")

    assert str(shelves.error).startswith(SentWhileFoldingError.__name__)
    assert shipped == 1


async def test_a_slow_one_delays_no_commit(tmp_path):
    shop = Shop(f"sqlite:{tmp_path}/events.db")
    shop.poison = lambda _event: _work(0.001)
    async with shop.app as app:
        await shop.place("nut", times=400)  # 0.4 s of folding
        waited = []
        for _ in range(10):
            begun = app.delivery.loop.time()  # type: ignore[union-attr]
            await shop.place("bolt")
            waited.append(app.delivery.loop.time() - begun)  # type: ignore[union-attr]
        orders, shelves = await app.projections()

    assert orders.behind == 0
    assert shelves.behind > 0
    assert sorted(waited)[5] < 0.2  # one that waited for all of it would take longer


def _work(seconds: float) -> None:
    until = process_time() + seconds
    while process_time() < until:
        pass


# Reading one's own writes.


async def test_what_was_caught_up_shows_the_commands_events(store):
    shop = Shop(store)
    async with shop.app:
        for number in range(20):
            await shop.place(f"item {number}", times=3, caught_up=[shop.shelves])
            assert shop.numbers(f"item {number}") == [0, 1, 2]


@pytest.mark.parametrize(
    "wanted", [["shop.shelves"], ["shelves"], [Shelf], [Shelf, "shelves"], "shelves", Shelf], ids=str
)
async def test_projections_are_named_in_several_ways(wanted):
    shop = Shop()
    async with shop.app:
        await shop.place("nut", caught_up=wanted)
        numbers = shop.numbers("nut")

    assert numbers == [0]


async def test_one_that_is_not_there_is_refused_before_anything_is_sent():
    shop = Shop()
    async with shop.app as app:
        for wanted in ("shop.shelfs", PlacedEvent, 7):
            with pytest.raises(UnknownProjectionError):
                await shop.place("nut", caught_up=[wanted])
        head = await app.store.head()

    assert head == -1


async def test_inline_ones_are_caught_up_at_once(store, monkeypatch):
    shop = Shop(store)
    async with shop.app as app:
        monkeypatch.setattr(app.store, "read_correlation", None)  # nothing is asked of the log
        placed = await shop.place("nut", caught_up=[shop.orders, Order, "orders"])

    assert placed == PlacedEvent(item="nut")


async def test_who_is_behind_in_time_is_named_with_how_far(store, monkeypatch):
    shop = Shop(store)
    async with shop.app as app:
        held = asyncio.Event()
        _hold(app, held)
        with pytest.raises(ProjectionsBehindError) as caught:
            await shop.place("nut", times=3, caught_up=[shop.orders, shop.shelves], timeout=0.2)
        held.set()
        left = _left_over(app)

    (behind,) = caught.value.behind
    assert (behind.name, behind.error) == ("shop.shelves", None)
    assert behind.events >= 3
    assert isinstance(caught.value, TimeoutError)
    assert f"shop.shelves is {behind.events} events behind" in str(caught.value)
    assert caught.value.message == PlacedEvent(item="nut")
    assert left == (0, 0)


async def test_a_stale_answer_is_marked(store):
    shop = Shop(store)
    async with shop.app as app:
        fresh = await shop.place("nut", caught_up=["shelves"], allow_stale=True)
        held = asyncio.Event()
        _hold(app, held)
        stale = await shop.place("bolt", caught_up=["shelves"], allow_stale=True, timeout=0.1)
        nobody = await shop.place("screw", allow_stale=True)
        held.set()

    assert isinstance(fresh, Answer)
    assert (fresh.message, fresh.stale, fresh.behind) == (PlacedEvent(item="nut"), False, ())
    assert (stale.message, stale.stale) == (PlacedEvent(item="bolt"), True)
    assert [one.name for one in stale.behind] == ["shop.shelves"]
    assert not nobody.stale


async def test_one_that_has_stopped_is_not_waited_for(store):
    shop = Shop(store)
    shop.poison = _fail
    async with shop.app as app:
        begun = app.delivery.loop.time()  # type: ignore[union-attr]
        with pytest.raises(ProjectionsBehindError, match=r"stopped \(ValueError: no shelf\)"):
            await shop.place("nut", caught_up=[shop.shelves], timeout=30)
        took = app.delivery.loop.time() - begun  # type: ignore[union-attr]

    assert took < 10


async def test_an_inline_one_that_has_stopped_is_behind(store):
    shop = Shop(store)
    shop.component.projection("broken", Order).on(PlacedEvent)(_broken)
    async with Microlith("shop", [shop.component], store=store) as app:
        with pytest.raises(ProjectionsBehindError, match=r"shop\.broken is . events? behind, where it stopped"):
            await app.command_bus.execute(Place(item="nut"), until=PlacedEvent, caught_up=["broken"], timeout=30)


def _broken(event: PlacedEvent) -> None:
    raise ValueError("no")


async def test_the_event_itself_may_come_too_late():
    shop = Shop()
    async with shop.app as app:
        with pytest.raises(WaitTimeout):
            await app.command_bus.execute(Place(item="nut"), until=Never, caught_up=["shelves"], timeout=0.05)
        assert _left_over(app) == (0, 0)


class Never(Event):
    """Declared, and sent by nobody."""


@pytest.mark.parametrize("end", ["cancelled", "stopped"])
async def test_nothing_of_a_wait_is_left_after_another_end(store, end):
    shop = Shop(store)
    async with shop.app as app:
        held = asyncio.Event()
        _hold(app, held)
        followers = app._following()
        waiting = asyncio.ensure_future(shop.place("nut", caught_up=["shelves"], timeout=30))
        await eventually(lambda: any(one._waiting for one in followers._followers.values()))

        if end == "cancelled":
            waiting.cancel()
        else:
            await app.stop()
        with pytest.raises((asyncio.CancelledError, ClosedError)):
            await waiting

        assert not any(one._waiting for one in followers._followers.values())
        assert app.waits == 0


def _left_over(app: Microlith) -> tuple[int, int]:
    return app.waits, sum(len(one._waiting) for one in app._following()._followers.values())


def _hold(app: Microlith, held: asyncio.Event) -> None:
    """Let asynchronous projections stand still until an event is set."""
    advance = app.store.advance

    async def held_back(name: str, limit: int = 500) -> Any:
        await held.wait()
        return await advance(name, limit)

    app.store.advance = held_back  # type: ignore[method-assign]


async def test_all_events_of_the_correlation_are_waited_for(store):
    """Also those that other handlers and commits had added by then."""
    shop = Shop(store)
    async with shop.app as app:
        first = correlated(PlacedEvent(item="nut", number=7))
        written = asyncio.get_running_loop().create_future()
        app.store.complete(Unit([first]), lambda committed, error: written.set_result(error))
        assert await written is None
        command = correlated(Place(item="nut"))
        command = type(command)(
            command.message, command.message_id, first.correlation_id, first.message_id, command.time, 1, None
        )
        await app.command_bus.execute(command, until=ShippedEvent, caught_up=["shelves"])

        assert shop.numbers("nut") == [7, 0]


async def test_what_execute_returns_has_the_exact_type():
    """For mypy and pyright, which read this file, too."""
    shop = Shop()
    async with shop.app as app:
        execute = app.command_bus.execute
        command = Place(item="nut")
        assert_type(await execute(command, until=PlacedEvent, caught_up=[shop.shelves, "orders", Shelf]), PlacedEvent)
        assert_type(
            await execute(command, until=(PlacedEvent, ShippedEvent), caught_up=Shelf), PlacedEvent | ShippedEvent
        )
        stale = await execute(command, until=PlacedEvent, caught_up=[Shelf], allow_stale=True)
        assert_type(stale, Answer[PlacedEvent])
        assert_type(
            await execute(command, (PlacedEvent, ShippedEvent), 3.0, allow_stale=True),
            Answer[PlacedEvent | ShippedEvent],
        )

    assert stale.message == PlacedEvent(item="nut")
