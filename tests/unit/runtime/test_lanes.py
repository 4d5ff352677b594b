"""Lanes: no fault of one message takes the lane away from the next, and none is lost or handled twice."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from microlith import (
    Aggregate,
    Command,
    Component,
    Envelope,
    Event,
    HandlerFailedError,
    Microlith,
    Retry,
    correlated,
    decides,
)
from microlith.errors import StoreUnavailableError
from microlith.event_store import open_event_store
from microlith.handlers import lanes
from microlith.middleware import Middleware, Proceed


class Count(Command):
    """Ask for a number."""

    number: int = 0


class Fan(Command):
    """Ask for many numbers."""

    numbers: int


class CountedEvent(Event):
    """A number was counted."""

    number: int = 0


@pytest.fixture(params=["memory:", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return request.param if request.param == "memory:" else f"sqlite:{tmp_path / 'events.db'}"


async def fill(app: Microlith, events: Sequence[Event]) -> None:
    """Write events while the application does not run; its handlers are known, and have seen nothing."""
    async with app:
        pass
    store = open_event_store(app.store_url, app.types, Path.cwd())
    await store.open()
    for event in events:
        store.record(correlated(event), lambda *_: None)
    await store.flush()
    await store.close()


async def test_handler_that_swallows_its_timeout_leaves_the_next_message_its_own(store: str):
    ended: list[str] = []
    counting = Component("counting")

    @counting.handles(Count, timeout=0.1)
    async def count(command: Count) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if command.number:
                ended.append("timeout")
                raise

    async with Microlith("shop", [counting], store=store) as app:
        app.command_bus.dispatch(Count(number=0))
        with pytest.raises(HandlerFailedError, match="longer than"):
            await app.command_bus.execute(Count(number=1), CountedEvent)

    assert ended == ["timeout"]


async def test_every_recorded_command_is_handled_whatever_the_limit(store: str):
    seen: list[int] = []
    counting = Component("counting")

    @counting.handles(Fan)
    async def fan(command: Fan) -> list[Count]:
        return [Count(number=number) for number in range(command.numbers)]

    @counting.handles(Count)
    async def count(command: Count) -> None:
        seen.append(command.number)

    async with Microlith("shop", [counting], store=store, lane_limit=10) as app:
        await app.command_bus.dispatch(Fan(numbers=50))
        assert await app.idle()

    assert seen == list(range(50))


async def test_try_that_cannot_be_counted_does_not_end_the_lane(store: str):
    seen: list[int] = []
    counting = Component("counting")

    @counting.handles(Count, retry=Retry(3, first=0))
    async def count(command: Count) -> None:
        seen.append(command.number)
        if seen == [0]:
            raise ValueError("not yet")

    async def full(*_: Any) -> int:
        raise StoreUnavailableError("the disk is full")

    async with Microlith("shop", [counting], store=store) as app:
        app.store.begin_again = full  # type: ignore[assignment]
        app.command_bus.dispatch(Count(number=0))
        app.command_bus.dispatch(Count(number=1))
        assert await app.idle()

    assert seen == [0, 0, 1]


async def test_decision_that_a_middleware_drops_lets_the_next_command_in(store: str):
    class Counter(Aggregate, stream="counter-{number}"):
        @decides
        def count(self, command: Count) -> CountedEvent:
            return CountedEvent(number=command.number)

    class Drops(Middleware):
        def __init__(self) -> None:
            self.left = 1

        async def handling(self, envelope: Envelope[Any], proceed: Proceed) -> Any:
            value = await asyncio.wait_for(proceed(), 5)
            if self.left:
                self.left -= 1
                raise ValueError("after the decision")
            return value

    counting = Component("counting")
    decider = counting.aggregate(Counter)
    async with Microlith("shop", [counting], store=store, middleware=[Drops()]) as app:
        with pytest.raises(HandlerFailedError, match="after the decision"):
            await app.command_bus.execute(Count(number=7), CountedEvent)

        counted = await app.command_bus.execute(Count(number=7), CountedEvent)

    assert counted == CountedEvent(number=7)
    assert len(decider.locks) == 0


async def test_lane_reads_on_past_a_page_that_holds_nothing_for_it(tmp_path: Path):
    def counted_event() -> type[Event]:
        class SharedNameEvent(Event):
            number: int = 0

        return SharedNameEvent

    seen: list[int] = []
    one, other = Component("one"), Component("other")
    mine, theirs = counted_event(), counted_event()

    @one.handles(mine)
    async def note(event) -> None:
        seen.append(event.number)

    @other.handles(theirs)
    async def ignore(event) -> None:
        pass

    app = Microlith("shop", [one, other], store=f"sqlite:{tmp_path / 'events.db'}")
    await fill(app, [*(theirs() for _ in range(600)), mine.model_validate({"number": 1})])
    async with app:
        assert await app.idle()

    assert seen == [1]


async def test_event_that_a_lane_read_before_it_was_delivered_is_handled_once(tmp_path: Path):
    seen: list[int] = []
    counting = Component("counting")

    @counting.handles(CountedEvent)
    async def note(event: CountedEvent) -> None:
        seen.append(event.number)

    app = Microlith("shop", [counting], store=f"sqlite:{tmp_path / 'events.db'}")
    await fill(app, [CountedEvent(number=0)])
    async with app:
        store, read_all = app.store, app.store.read_all

        async def read_late(**asked: Any) -> Any:
            """Read when a new event is committed and the loop has not been told."""
            store.read_all = read_all  # type: ignore[method-assign]
            head = await store.head()
            app.event_bus.dispatch(CountedEvent(number=1))
            flushing = asyncio.ensure_future(store.flush())
            await asyncio.sleep(0)
            deadline = time.monotonic() + 5
            while await store.head() == head and time.monotonic() < deadline:
                time.sleep(0.001)  # noqa: ASYNC251 (the loop must not hear of the commit yet)
            page = await read_all(**asked)
            flushing.cancel()
            return page

        store.read_all = read_late  # type: ignore[method-assign]
        assert await app.idle()

    assert seen == [0, 1]


async def test_many_senders_that_wait_for_room_are_let_in_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lanes, "CROWDED", 10)
    monkeypatch.setattr("microlith.delivery.receipts.CROWDED", 10)
    seen: list[int] = []
    counting = Component("counting")

    @counting.handles(Count)
    async def count(command: Count) -> None:
        seen.append(command.number)

    async with Microlith("shop", [counting], store="memory:") as app:

        async def send(number: int) -> None:
            await app.command_bus.dispatch(Count(number=number))

        async with asyncio.timeout(10):
            await asyncio.gather(*(send(number) for number in range(500)))

    assert seen == list(range(500))


async def test_sender_that_waits_for_room_is_let_go_when_the_application_stops():
    counting = Component("counting")

    @counting.handles(Count)
    async def count(command: Count) -> None:
        await asyncio.Event().wait()

    app = Microlith("shop", [counting], store="memory:")
    await app.start()
    for number in range(lanes.CROWDED + 2):
        app.command_bus.dispatch(Count(number=number))
    sending = asyncio.ensure_future(app.command_bus.dispatch(Count())._awaited())
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    await app.stop(drain=0)

    async with asyncio.timeout(5):
        await sending
