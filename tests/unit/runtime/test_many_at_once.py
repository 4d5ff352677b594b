"""Many senders at once, tasks and threads, through the public API: nothing is lost, and all who watch see one log."""

import asyncio
from threading import Thread

import pytest

from microlith import Aggregate, Command, Component, Event, Microlith, decides, evolves
from microlith.testing.event_store_contract.stock import all_facts

FEW = 8
MANY = 32
EACH = 20


class CountUp(Command):
    counter: str
    writer: int
    number: int


class CountedUp(Event):
    writer: int
    number: int
    count: int


class Counter(Aggregate, stream="counter-{counter}"):
    count: int = 0

    @decides
    def count_up(self, command: CountUp) -> CountedUp:
        return CountedUp(writer=command.writer, number=command.number, count=self.count + 1)

    @evolves
    def counted_up(self, event: CountedUp) -> None:
        self.count = event.count


@pytest.fixture(params=["memory:", "sqlite:{}/events.db"])
async def app(request, tmp_path):
    counting = Component("counting")
    counting.aggregate(Counter)
    async with Microlith("app", [counting], store=request.param.format(tmp_path)) as app:
        yield app


class Watchers:
    """A live subscription, and a reader that pages behind the end of the log."""

    def __init__(self, app):
        self.live, self.tailed, self._app = [], [], app
        app.event_bus.subscribe(CountedUp, self.live.append)

    async def until(self, total):
        async with asyncio.timeout(50):
            while len(self.tailed) < total or len(self.live) < total:
                after = self.tailed[-1].position if self.tailed else -1
                self.tailed += await self._app.store.read_all(after=after, limit=9)
                await asyncio.sleep(0)

    async def agree(self):
        log = await self._app.store.read_all(limit=100_000)
        assert all_facts(self.tailed) == all_facts(log), "the reader behind the end saw something else"
        assert self.live == [event.message for event in log], "the subscription saw something else"
        assert [event.position for event in log] == list(range(len(log)))
        return log


def of_writer(log, writer):
    return [event.message.number for event in log if event.message.writer == writer]


async def test_eight_tasks_on_one_stream_lose_no_update(app):
    watchers = Watchers(app)

    async def send(writer):
        for number in range(EACH):
            command = CountUp(counter="one", writer=writer, number=number)
            assert (await app.command_bus.execute(command, until=CountedUp, timeout=30)).number == number

    await asyncio.gather(watchers.until(FEW * EACH), *map(send, range(FEW)))

    log = await watchers.agree()
    assert [event.message.count for event in log] == list(range(1, FEW * EACH + 1))
    assert all(of_writer(log, writer) == list(range(EACH)) for writer in range(FEW))


async def test_eight_threads_on_one_stream_lose_no_update(app):
    watchers = Watchers(app)

    def send(writer):
        for number in range(EACH):
            app.command_bus.dispatch(CountUp(counter="one", writer=writer, number=number))

    threads = [Thread(target=send, args=(writer,)) for writer in range(FEW)]
    for thread in threads:
        thread.start()
    await watchers.until(FEW * EACH)
    for thread in threads:
        thread.join()

    log = await watchers.agree()
    assert [event.message.count for event in log] == list(range(1, FEW * EACH + 1))
    assert all(of_writer(log, writer) == list(range(EACH)) for writer in range(FEW))


async def test_thirty_two_tasks_on_many_streams_keep_the_order_of_each(app):
    watchers = Watchers(app)

    async def send(writer):
        for number in range(EACH):
            command = CountUp(counter=f"{writer % 16}", writer=writer, number=number)
            await app.command_bus.execute(command, until=CountedUp, timeout=30)

    await asyncio.gather(watchers.until(MANY * EACH), *map(send, range(MANY)))

    log = await watchers.agree()
    assert all(of_writer(log, writer) == list(range(EACH)) for writer in range(MANY))
    for counter in range(16):
        stream = await app.store.read(f"counter-{counter}")
        assert [event.message.count for event in stream] == list(range(1, 2 * EACH + 1))
        assert [event.stream_position for event in stream] == list(range(2 * EACH))
