"""What a store promises when many write at once: no lost update, no gap, no other order, and one log for all readers."""

import asyncio
from collections.abc import Awaitable, Sequence

from microlith.context import correlated
from microlith.errors import PositionConflictError
from microlith.event_store.protocol import Committed, RecordedEvent, Unit
from microlith.testing.event_store_contract.stock import ItemStored, StoreUnderTest, all_facts, amount_of, item_of

FEW = 8
MANY = 32
EACH = 25
SHARED = 4
_SMALL_PAGE = 7
_MOST_SECONDS = 50


class Race:
    """Writers at work on one store, and two who watch them: one is told of each commit, one reads behind the end.

    Attributes:
        told: The events of each commit, in the order in which their writers were told.
        tailed: What the reader saw, page by page, while the writers were at work.
    """

    def __init__(self, event_store: StoreUnderTest) -> None:
        self.told: list[RecordedEvent] = []
        self.tailed: list[RecordedEvent] = []
        self._store = event_store.store
        self._over = False

    async def run(self, writers: Sequence[Awaitable[None]]) -> list[RecordedEvent]:
        """Let all write, and return what the log holds afterwards."""
        async with asyncio.timeout(_MOST_SECONDS):
            tail = asyncio.create_task(self._tail())
            await asyncio.gather(*writers)
            self._over = True
            await tail
        return await self._store.read_all(limit=100_000)

    async def append(self, stream: str, message: ItemStored, expected: int | None = None) -> RecordedEvent:
        """Append one event; tell of it, and give the others a turn."""
        future: asyncio.Future[RecordedEvent] = asyncio.get_running_loop().create_future()

        def done(committed: Committed | None, error: BaseException | None) -> None:
            if committed is None:
                future.set_exception(error or RuntimeError("neither committed nor an error"))
            else:
                self.told.extend(committed.events)
                future.set_result(committed.events[0])

        self._store.complete(Unit([correlated(message)], None, stream, expected), done)
        await asyncio.sleep(0)
        return await future

    async def count_up(self, writer: int, stream: str) -> None:
        """Add one to the number that the newest event of a stream holds, again and again, as whoever reads first."""
        position, count = -1, 0
        for number in range(EACH):
            while True:
                for event in await self._store.read(stream, after=position):
                    position, count = event.stream_position, amount_of(event.message)
                await asyncio.sleep(0)
                try:
                    await self.append(stream, ItemStored(item=f"{writer}/{number}", amount=count + 1), position)
                except PositionConflictError:
                    continue
                break

    async def write_on(self, writer: int) -> None:
        """Write by turns into a stream of one's own and one that others share."""
        for number in range(EACH):
            stream = f"own-{writer}" if number % 2 else f"shared-{writer % SHARED}"
            await self.append(stream, ItemStored(item=f"{writer}/{number}"))

    async def _tail(self) -> None:
        while True:
            over = self._over
            while page := await self._store.read_all(after=self._seen(), limit=_SMALL_PAGE):
                self.tailed += page
            if over:
                return
            await asyncio.sleep(0)

    def _seen(self) -> int:
        return self.tailed[-1].position if self.tailed else -1


class RacingContract:
    """Many writers and a reader behind them."""

    async def test_eight_writers_on_one_stream_lose_no_update(self, event_store: StoreUnderTest) -> None:
        race = Race(event_store)

        log = await race.run([race.count_up(writer, "counter") for writer in range(FEW)])

        assert amounts(log) == list(range(1, FEW * EACH + 1)), "a count that was lost, or counted twice"
        assert_nothing_is_missing_or_moved(log, FEW)
        assert_all_readers_agree(race, log)

    async def test_eight_threads_on_one_stream_lose_no_update(self, event_store: StoreUnderTest) -> None:
        race = Race(event_store)
        loop = asyncio.get_running_loop()

        def in_thread(writer: int) -> None:
            asyncio.run_coroutine_threadsafe(race.count_up(writer, "counter"), loop).result(_MOST_SECONDS)

        log = await race.run([asyncio.to_thread(in_thread, writer) for writer in range(FEW)])

        assert amounts(log) == list(range(1, FEW * EACH + 1)), "a count that was lost, or counted twice"
        assert_nothing_is_missing_or_moved(log, FEW)
        assert_all_readers_agree(race, log)

    async def test_thirty_two_writers_on_many_streams_keep_their_order(self, event_store: StoreUnderTest) -> None:
        race = Race(event_store)

        log = await race.run([race.write_on(writer) for writer in range(MANY)])

        assert_nothing_is_missing_or_moved(log, MANY)
        assert_all_readers_agree(race, log)
        streams = [f"own-{writer}" for writer in range(MANY)] + [f"shared-{number}" for number in range(SHARED)]
        for stream in streams:
            of_stream = await event_store.store.read(stream, limit=10_000)
            assert all_facts(of_stream) == all_facts([event for event in log if event.stream == stream])
            assert [event.stream_position for event in of_stream] == list(range(len(of_stream)))


def amounts(log: Sequence[RecordedEvent]) -> list[int]:
    """The counts in a log, in its order."""
    return [amount_of(event.message) for event in log]


def assert_nothing_is_missing_or_moved(log: Sequence[RecordedEvent], writers: int) -> None:
    """Check that positions have no gaps, and that each writer's events are all there in the order of writing."""
    assert [event.position for event in log] == list(range(writers * EACH))
    for writer in range(writers):
        items = [item_of(event.message) for event in log]
        assert [item for item in items if item.startswith(f"{writer}/")] == [f"{writer}/{n}" for n in range(EACH)]


def assert_all_readers_agree(race: Race, log: Sequence[RecordedEvent]) -> None:
    """Check that those who watched saw what the log holds, element by element."""
    assert all_facts(race.tailed) == all_facts(log), "the reader behind the end saw something else"
    assert all_facts(race.told) == all_facts(log), "the writers were told something else"
