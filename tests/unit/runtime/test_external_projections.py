"""Projections into a database of the user's: at least once, in order, their own checkpoint, replayed only when they say how."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from microlith import (
    Command,
    Component,
    Envelope,
    Event,
    HandlerFailedError,
    Microlith,
    ProjectionsBehindError,
    RecordedEvent,
    current_envelope,
)
from microlith.application import outside
from microlith.application.outside import NoResetError
from microlith.errors import InjectionError, SentWhileFoldingError, WiringError
from tests.eventually import eventually


class Place(Command):
    """Order something."""

    item: str
    times: int = 1


class PlacedEvent(Event):
    """Something was ordered."""

    item: str
    number: int = 0


class CancelledEvent(Event):
    """It was taken back."""

    item: str


class SearchIndex:
    """The second database: rows of what was ordered, in the order in which it came."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute("CREATE TABLE IF NOT EXISTS orders (position INTEGER, item TEXT, correlation TEXT)")

    def add(self, position: int, item: str, correlation: str) -> None:
        with self._lock:
            self._connection.execute("INSERT INTO orders VALUES (?, ?, ?)", (position, item, correlation))

    def remove(self, item: str) -> None:
        with self._lock:
            self._connection.execute("DELETE FROM orders WHERE item = ?", (item,))

    def clear(self) -> None:
        with self._lock:
            self._connection.execute("DELETE FROM orders")

    def items(self) -> list[str]:
        with self._lock:
            return [item for (item,) in self._connection.execute("SELECT item FROM orders ORDER BY rowid")]

    def positions(self) -> list[int]:
        with self._lock:
            return [position for (position,) in self._connection.execute("SELECT position FROM orders ORDER BY rowid")]

    def close(self) -> None:
        self._connection.close()


class Shop:
    """An application that keeps a search index beside its store."""

    def __init__(self, folder: Path, *, in_memory: bool = False, resettable: bool = True) -> None:
        self.harm: Callable[[RecordedEvent], None] = _nothing
        self.reset_harm: Callable[[], None] = lambda: None
        self.seen_now: list[object] = []
        self.index: SearchIndex
        shop = Component("shop")
        shop.provides(SearchIndex, self._open(folder / "index.db"))
        self.search = shop.external_projection("search")

        @self.search.on(PlacedEvent)
        async def placed(
            event: PlacedEvent, index: SearchIndex, recorded: RecordedEvent, envelope: Envelope[PlacedEvent]
        ) -> None:
            await asyncio.sleep(0)
            self.seen_now.append(current_envelope())
            self.harm(recorded)
            index.add(recorded.position, event.item, envelope.correlation_id)

        @self.search.on(CancelledEvent)
        def cancelled(event: CancelledEvent, index: SearchIndex) -> None:
            index.remove(event.item)

        if resettable:

            @self.search.reset
            def reset(index: SearchIndex) -> None:
                index.clear()
                self.reset_harm()

        @shop.handles(Place)
        async def place(command: Place) -> list[PlacedEvent]:
            return [PlacedEvent(item=f"{command.item}{number}", number=number) for number in range(command.times)]

        self.component = shop
        self.app = Microlith("shop", [shop], store="memory:" if in_memory else f"sqlite:{folder}/events.db")

    def _open(self, path: Path) -> Callable[[], SearchIndex]:
        def opened() -> SearchIndex:
            self.index = SearchIndex(path)
            return self.index

        return opened

    async def place(self, item: str, times: int = 1) -> None:
        await self.app.command_bus.execute(
            Place(item=item, times=times), until=PlacedEvent, caught_up=[self.search], timeout=10
        )


def _nothing(_recorded: RecordedEvent) -> None:
    """Do no harm."""


def _fail(recorded: RecordedEvent) -> None:
    raise ValueError("no index")


def _divide() -> None:
    raise ZeroDivisionError


@pytest.fixture(params=["memory", "sqlite"])
def shop(request, tmp_path):
    return Shop(tmp_path, in_memory=request.param == "memory")


async def test_every_event_comes_in_order_with_its_position_and_ids(shop):
    async with shop.app as app:
        await shop.place("nut", times=250)
        await app.event_bus.dispatch(CancelledEvent(item="nut7"))
        await app.idle()
        items, positions = shop.index.items(), shop.index.positions()
        correlations = {event.correlation_id for event in await app.store.read_all(limit=10)}
        (kept,) = set(shop.index._connection.execute("SELECT DISTINCT correlation FROM orders").fetchall())
        (standing,) = await app.projections()

    assert items == [f"nut{number}" for number in range(250) if number != 7]
    assert positions == [number for number in range(250) if number != 7]
    assert set(kept) == correlations
    assert (standing.kind, standing.behind, standing.error) == ("external", 0, None)
    assert set(shop.seen_now) == {None}


async def test_it_goes_on_from_its_checkpoint_after_a_restart(tmp_path):
    shop = Shop(tmp_path)
    async with shop.app:
        await shop.place("nut", times=3)

    async with shop.app:
        await shop.place("bolt")
        assert shop.index.positions() == [0, 1, 2, 3]


async def test_poison_stops_it_alone_and_it_goes_on_after_a_restart(tmp_path, caplog):
    shop = Shop(tmp_path)
    shop.harm = lambda recorded: _fail(recorded) if recorded.position == 1 else None
    async with shop.app as app:
        with pytest.raises(ProjectionsBehindError, match=r"shop\.search is 2 events behind, where it stopped"):
            await shop.place("nut", times=3)
        (standing,) = await app.projections()
        before = shop.index.positions()

    shop.harm = _nothing
    async with shop.app as app:
        await app.idle()
        after = shop.index.positions()

    assert [record.getMessage() for record in caplog.records] == [
        "Projection shop.search stopped before position 1, PlacedEvent: ValueError: no index"
    ]
    assert (standing.checkpoint, standing.error, standing.stopped_at) == (0, "ValueError: no index", "PlacedEvent")
    assert (before, after) == ([0], [0, 1, 2])


async def test_at_least_once_when_the_process_dies_between_function_and_checkpoint(tmp_path, monkeypatch):
    shop = Shop(tmp_path)
    async with shop.app as app:
        await shop.place("nut")
        noted = app.store.note_reached

        async def died(name: str, checkpoint: int, error: str | None = None) -> None:
            raise asyncio.CancelledError

        monkeypatch.setattr(app.store, "note_reached", died)
        await app.command_bus.execute(Place(item="bolt"), until=PlacedEvent)
        await eventually(lambda: len(shop.index.positions()) == 2)
        assert noted is not None

    async with shop.app as app:
        await app.idle()
        assert shop.index.positions() == [0, 1, 1]


async def test_stopping_notes_how_far_it_came(tmp_path, monkeypatch):
    shop = Shop(tmp_path)
    reached = asyncio.Event()
    shop.harm = lambda recorded: reached.set() if recorded.position == 5 else None
    async with shop.app as app:
        await app.command_bus.dispatch(Place(item="nut", times=50))
        await reached.wait()
        # stopped in the middle of a page

    shop.harm = _nothing
    async with shop.app as app:
        await app.idle()
        assert shop.index.positions() == list(range(50))


async def test_replay_resets_first_and_folds_everything_again(shop):
    told: list[tuple[int, int]] = []
    async with shop.app as app:
        await shop.place("nut", times=250)
        shop.index.add(99, "stranger", "")

        rebuilt = await app.rebuild("shop.search", lambda done, total: told.append((done, total)))
        await shop.place("bolt")

        assert shop.index.positions() == list(range(251))
    assert (rebuilt.name, rebuilt.events) == ("shop.search", 250)
    assert told[-1] == (250, 250)
    assert sorted(told) == told


async def test_replay_mends_one_that_stopped(shop):
    shop.harm = _fail
    async with shop.app as app:
        with pytest.raises(ProjectionsBehindError):
            await shop.place("nut")
        with pytest.raises(HandlerFailedError, match="ValueError: no index"):
            await app.rebuild("shop.search")

        shop.harm = _nothing
        await app.rebuild("shop.search")

        assert shop.index.items() == ["nut0"]


async def test_without_a_reset_it_is_not_replayed_and_nothing_is_touched(tmp_path):
    shop = Shop(tmp_path, resettable=False)
    async with shop.app as app:
        await shop.place("nut")
        with pytest.raises(NoResetError, match=r"shop\.search .* declares no reset"):
            await app.rebuild("shop.search")
        await shop.place("bolt")

        assert shop.index.items() == ["nut0", "bolt0"]


@pytest.mark.parametrize("ending", ["reset fails", "process dies"])
async def test_a_replay_that_was_interrupted_is_carried_on(tmp_path, ending):
    shop = Shop(tmp_path)
    async with shop.app as app:
        await shop.place("nut", times=3)
        if ending == "reset fails":
            shop.reset_harm = _divide
            with pytest.raises(HandlerFailedError, match="its reset failed: ZeroDivisionError"):
                await app.rebuild("shop.search")
        else:  # noted that it is to be reset, and no more
            await app.store.note_reached("shop.search", outside._TO_BE_RESET)
            shop.index.add(99, "half", "")

    shop.reset_harm = lambda: None
    async with shop.app as app:
        await app.idle()
        assert shop.index.positions() == [0, 1, 2]


async def test_it_sends_nothing(shop):
    raised: list[Exception] = []

    def send(recorded: RecordedEvent) -> None:
        try:
            shop.app.event_bus.dispatch(CancelledEvent(item="nut0"))
        except SentWhileFoldingError as error:
            raised.append(error)
            raise

    shop.harm = send
    async with shop.app as app:
        with pytest.raises(ProjectionsBehindError, match="SentWhileFoldingError"):
            await shop.place("nut")
        head = await app.store.head()

    assert len(raised) == 1
    assert head == 0


async def test_what_it_cannot_be_given_is_refused_at_start(tmp_path):
    for function, parameter in ((_asks_for_a_bus, "bus"), (_asks_for_nothing_known, "anything")):
        shop = Component("shop")
        shop.external_projection("search").on(PlacedEvent)(function)
        with pytest.raises(InjectionError, match=parameter):
            Microlith("shop", [shop]).wire()


async def _asks_for_a_bus(event: PlacedEvent, bus: Microlith) -> None: ...


async def _asks_for_nothing_known(event: PlacedEvent, anything) -> None: ...


async def test_two_resets_are_refused():
    search = Component("shop").external_projection("search")
    search.reset(_nothing)

    with pytest.raises(WiringError, match="two reset functions"):
        search.reset(_nothing)


async def test_a_slow_one_is_noted_in_between(tmp_path, monkeypatch):
    monkeypatch.setattr(outside, "_NOTE_SECONDS", 0.0)
    shop = Shop(tmp_path)
    checkpoints: list[int] = []
    async with shop.app as app:
        note = app.store.note_reached

        async def noted(name: str, checkpoint: int, error: str | None = None) -> None:
            checkpoints.append(checkpoint)
            await note(name, checkpoint, error)

        monkeypatch.setattr(app.store, "note_reached", noted)
        await shop.place("nut", times=4)

    assert checkpoints == [0, 1, 2, 3]
