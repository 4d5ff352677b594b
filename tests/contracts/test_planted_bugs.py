"""The contract notices what it is there for: stores that are wrong on purpose fail it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from microlith.event_store.memory import MemoryEventStore
from microlith.event_store.protocol import Committed, Done, RecordedEvent, Unit
from microlith.serialization import MessageTypes
from microlith.testing.event_store_contract.racing import RacingContract
from microlith.testing.event_store_contract.stock import StoreUnderTest

ONE_STREAM = (
    RacingContract.test_eight_writers_on_one_stream_lose_no_update,
    RacingContract.test_eight_threads_on_one_stream_lose_no_update,
)
MANY_STREAMS = (RacingContract.test_thirty_two_writers_on_many_streams_keep_their_order,)
AT = 40
"""The write, or the position, that goes wrong."""


class Wrong(MemoryEventStore):
    """A store in memory that counts its writes, so that one of them can go wrong."""

    def __init__(self, types: MessageTypes) -> None:
        super().__init__(types)
        self.writes = 0

    def complete(self, unit: Unit, done: Done) -> None:
        self.writes += 1
        super().complete(unit, done)


class LosesUpdates(Wrong):
    """For a while it does not look whether another writer came first."""

    def complete(self, unit: Unit, done: Done) -> None:
        if AT <= self.writes < 2 * AT:
            unit.expected_position = None
        super().complete(unit, done)


class LosesAWrite(Wrong):
    """Acknowledges a write that it then forgets."""

    def complete(self, unit: Unit, done: Done) -> None:
        super().complete(unit, done)
        if self.writes == AT and unit.expected_position is None:
            lost = self._log.pop()
            self._streams[lost.stream].pop()


class ShowsLate(Wrong):
    """Shows one event only after those behind it, as a store does whose positions are given before the commit."""

    async def read_all(self, **asked: Any) -> list[RecordedEvent]:
        page = await super().read_all(**asked)
        return [event for event in page if event.position != AT or len(self._log) > 3 * AT]


class TellsInAnotherOrder(Wrong):
    """Tells a writer of its commit when the next one has been told."""

    def complete(self, unit: Unit, done: Done) -> None:
        def told(committed: Committed | None, error: BaseException | None) -> None:
            if committed is not None and committed.events[0].position == AT:
                asyncio.get_running_loop().call_later(0.01, done, committed, error)
            else:
                done(committed, error)

        super().complete(unit, told)


class WritesTwice(Wrong):
    """Writes one event a second time, under a position of its own."""

    def complete(self, unit: Unit, done: Done) -> None:
        super().complete(unit, done)
        if len(self._log) == AT:
            self._append(unit.envelopes[0], unit.stream)


async def fails(check: Callable[[Any, StoreUnderTest], Any], make: Callable[[MessageTypes], Any]) -> None:
    store = StoreUnderTest(make)
    await store.store.open()
    with pytest.raises(AssertionError):
        await check(RacingContract(), store)


@pytest.mark.parametrize("check", ONE_STREAM)
@pytest.mark.parametrize("wrong", [LosesUpdates, ShowsLate, TellsInAnotherOrder, WritesTwice])
async def test_writers_on_one_stream_notice(check, wrong):
    await fails(check, wrong)


@pytest.mark.parametrize("check", MANY_STREAMS)
@pytest.mark.parametrize("wrong", [LosesAWrite, ShowsLate, TellsInAnotherOrder, WritesTwice])
async def test_writers_on_many_streams_notice(check, wrong):
    await fails(check, wrong)


@pytest.mark.parametrize("check", ONE_STREAM + MANY_STREAMS)
async def test_a_store_that_is_right_passes(check):
    store = StoreUnderTest(MemoryEventStore)
    await store.store.open()
    await check(RacingContract(), store)
