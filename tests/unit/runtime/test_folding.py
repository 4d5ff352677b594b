"""What folds events sends nothing and waits for nothing: in every way, at every moment at which events are folded."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
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
    Query,
    ReadModel,
    Response,
    Table,
    correlated,
    current_envelope,
    decides,
    evolves,
)
from microlith.errors import SentWhileFoldingError
from microlith.testing import given


class Count(Command):
    """Ask for a count."""

    number: int


class CountedEvent(Event):
    """Something was counted."""

    number: int


class HeardEvent(Event):
    """Something that a projection may not say."""


class TotalResponse(Response):
    """How many."""

    total: int


class TotalRequest(Query[TotalResponse]):
    """How many?"""


class Counted(ReadModel, key="number"):
    """One number."""

    number: int


Way = Callable[[Microlith, Envelope[Any]], Any]


def in_a_thread(app: Microlith, envelope: Envelope[Any]) -> None:
    with ThreadPoolExecutor(1) as threads:
        threads.submit(copy_context().run, app.event_bus.dispatch, HeardEvent()).result()


def in_a_task(app: Microlith, envelope: Envelope[Any]) -> None:
    run(lambda: asyncio.create_task(asyncio.to_thread(app.event_bus.dispatch, HeardEvent())))


def run(work: Callable[[], Any]) -> None:
    """Run something awaitable where a loop may run already, or none."""

    async def awaited() -> None:
        await work()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(awaited())
    else:  # in memory, events are folded on the loop: step once, which is as far as any of these may come
        work_now = awaited()
        try:
            work_now.send(None)
        finally:
            work_now.close()


WAYS: dict[str, Way] = {
    "event": lambda app, _: app.event_bus.dispatch(HeardEvent()),
    "command": lambda app, _: app.command_bus.dispatch(Count(number=1)),
    "query": lambda app, _: app.query_bus.dispatch(TotalRequest()),
    "correlated": lambda app, _: app.event_bus.dispatch(correlated(HeardEvent())),
    "made before": lambda app, envelope: app.event_bus.dispatch(envelope),
    "ask": lambda app, _: run(lambda: app.query_bus.ask(TotalRequest())),
    "execute": lambda app, _: run(lambda: app.command_bus.execute(Count(number=1), until=CountedEvent)),
    "wait": lambda app, envelope: run(lambda: app.event_bus.wait_for(envelope.correlation_id, HeardEvent)),
    "thread": in_a_thread,
}


class Counter:
    """An application whose projection sends while it folds, in a way that can be changed."""

    def __init__(self, store: str = "memory:") -> None:
        self.way: Way | None = None
        self.raised: BaseException | None = None
        self.made_before = correlated(HeardEvent())
        counter = Component("counter")
        counts = counter.projection("counts", Counted)

        @counts.on(CountedEvent)
        def counted(event: CountedEvent, table: Table[Counted]) -> None:
            table.put(Counted(number=event.number))
            if self.way is not None:
                try:
                    self.way(self.app, self.made_before)
                except BaseException as error:
                    self.raised = error
                    raise

        @counter.handles(Count)
        async def count(command: Count) -> CountedEvent:
            return CountedEvent(number=command.number)

        @counter.handles(TotalRequest)
        async def total(query: TotalRequest) -> TotalResponse:
            return TotalResponse(total=0)

        counter.handles(HeardEvent)(_listen)
        self.app = Microlith("counter", [counter], store=store)

    async def count(self) -> None:
        await self.app.command_bus.execute(Count(number=7), until=CountedEvent)


async def _listen(event: HeardEvent) -> None:
    """Be there, so that the event could be heard."""


@pytest.fixture(params=["memory:", "sqlite"])
def store(request, tmp_path):
    return request.param if request.param == "memory:" else f"sqlite:{tmp_path}/events.db"


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_whatever_a_projection_sends_raises_and_names_it(store, way):
    counter = Counter(store)
    counter.way = way
    async with counter.app as app:
        await counter.count()
        (state,) = await app.store.projection_states()
        heard = [event.type for event in await app.store.read_all()]
        waits = app.waits

    assert isinstance(counter.raised, SentWhileFoldingError)
    assert counter.raised.name == "counter.counts"
    assert (state.checkpoint, state.rows) == (-1, 0)
    assert str(state.error).startswith("SentWhileFoldingError: counter.counts folds events")
    assert (heard, waits) == (["CountedEvent"], 0)


async def test_a_task_and_its_thread_are_refused_too(tmp_path):
    counter = Counter(f"sqlite:{tmp_path}/events.db")
    counter.way = in_a_task
    async with counter.app:
        await counter.count()

    assert isinstance(counter.raised, SentWhileFoldingError)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_a_projection_that_is_rebuilt_sends_nothing(store, way):
    counter = Counter(store)
    async with counter.app as app:
        await counter.count()
        counter.way = way

        with pytest.raises(HandlerFailedError) as caught:
            await app.store.rebuild("counter.counts", lambda _done, _total: None)
        (state,) = await app.store.projection_states()

    assert isinstance(caught.value.__cause__, SentWhileFoldingError)
    assert (state.error, state.rows) == (None, 1)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_a_projection_that_is_caught_up_at_start_sends_nothing(tmp_path, way):
    counter = Counter(f"sqlite:{tmp_path}/events.db")
    counter.way = lambda app, envelope: 1 / 0
    async with counter.app:
        await counter.count()

    counter.way = way
    async with counter.app:
        pass

    assert isinstance(counter.raised, SentWhileFoldingError)


async def test_what_is_sent_elsewhere_meanwhile_goes_out(store):
    counter = Counter(store)
    async with counter.app as app:
        counter.way = WAYS["event"]
        await asyncio.gather(counter.count(), *(app.event_bus.dispatch(HeardEvent()) for _ in range(20)))
        heard = [event.type for event in await app.store.read_all()].count("HeardEvent")

    assert heard == 20


async def test_nothing_is_being_handled_while_events_are_folded(store):
    counter = Counter(store)
    seen: list[Any] = []
    counter.way = lambda _app, _envelope: seen.append(current_envelope())
    async with counter.app:
        await counter.count()

    assert seen == [None]


running: list[Microlith] = []


class Number(Aggregate, stream="number-{number}"):
    """Sends from where its state is made."""

    @decides
    def count(self, command: Count) -> CountedEvent:
        return CountedEvent(number=command.number)

    @evolves
    def counted(self, event: CountedEvent) -> None:
        running[0].event_bus.dispatch(HeardEvent())


async def test_an_aggregate_that_sends_while_its_stream_is_loaded_fails_and_is_named(store):
    counter = Component("counter")
    counter.aggregate(Number)
    counter.handles(HeardEvent)(_listen)
    async with Microlith("counter", [counter], store=store) as app:
        running[:] = [app]
        await app.command_bus.execute(Count(number=1), until=CountedEvent)  # a new stream: nothing to fold

        with pytest.raises(HandlerFailedError, match="Number folds events") as caught:
            await app.command_bus.execute(Count(number=1), until=CountedEvent)
        heard = [event.type for event in await app.store.read_all()]

    assert isinstance(caught.value.__cause__, SentWhileFoldingError)
    assert heard == ["CountedEvent"]


def test_an_aggregate_that_sends_fails_its_test():
    running[:] = [Microlith("counter", [], store="memory:")]

    with pytest.raises(SentWhileFoldingError, match="Number"):
        given(Number, CountedEvent(number=1)).when(Count(number=1))
