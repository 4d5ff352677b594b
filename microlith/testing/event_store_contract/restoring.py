"""Copies of events: they are recorded as they were, all or none, and handlers do not take them for news."""

from collections.abc import Iterator

import pytest

from microlith.context import correlated
from microlith.envelope import Envelope
from microlith.event_store.copies import EventCopy, RestoreError, copy_of
from microlith.event_store.protocol import Unit
from microlith.testing.event_store_contract.stock import ItemStored, StockProjection, StoreUnderTest

COPY = EventCopy(
    "stock", "ItemStored", 1, "shelf-A", 0, "id-0", "correlation", None, 1_700_000_000_123_456, 3,
    {"trace": "ä\t"}, '{"item": "ü", "amount": 1.50}'.encode(),
)  # fmt: skip


def copies(count: int, stream: str = "shelf-A", first: int = 0) -> list[EventCopy]:
    """Make copies that continue each other."""
    return [
        COPY._replace(stream=stream, stream_position=number, message_id=f"{stream}-{number}", where=f"line {number}")
        for number in range(first, first + count)
    ]


class RestoringContract:
    """What a restored log promises."""

    async def test_copies_of_a_log_are_that_log(self, event_store: StoreUnderTest) -> None:
        await event_store.complete(
            Unit([Envelope(ItemStored(item="é\u2028"), "m-1", "c-1", "m-0", 1_600_000_000.000001, 7, {"a": "ß"})])
        )
        for number in range(5):
            await event_store.append(f"shelf-{number % 2}", f"item {number}")
        originals = await event_store.whole_log()

        made = [
            copy_of(event)._replace(stream=f"{event.stream}*", message_id=f"{event.message_id}*") for event in originals
        ]
        assert await event_store.store.restore(iter(made)) == 6

        restored = (await event_store.whole_log())[6:]
        assert [copy_of(event) for event in restored] == made
        assert [event.position for event in restored] == [*range(6, 12)]
        assert [event.message for event in restored] == [event.message for event in originals]
        await event_store.reopen()
        assert await event_store.store.verify() == 12

    async def test_copy_keeps_bytes_that_this_code_would_write_otherwise(self, event_store: StoreUnderTest) -> None:
        odd = [COPY, COPY._replace(type="Gone", component="lost", version=9, stream_position=1, message_id="id-1")]

        await event_store.store.restore(odd)

        events = await event_store.whole_log()
        assert [copy_of(event)._replace(where="") for event in events] == odd
        assert [event.position for event in await event_store.store.read("shelf-A")] == [0, 1]
        assert [event.position for event in await event_store.store.read_correlation("correlation")] == [0, 1]

    async def test_copy_keeps_its_time_to_the_microsecond_in_any_year(self, event_store: StoreUnderTest) -> None:
        moments = [COPY.microseconds, 4_500_000_000_000_001, 253_402_300_798_999_999]
        made = [copy._replace(microseconds=moment) for copy, moment in zip(copies(3), moments, strict=True)]

        await event_store.store.restore(made)
        await event_store.reopen()

        assert [event.microseconds for event in await event_store.whole_log()] == moments

    async def test_many_copies_are_readable_and_the_log_goes_on_behind_them(self, event_store: StoreUnderTest) -> None:
        await event_store.store.restore(copies(1300))

        appended = await event_store.append("shelf-A", "next", expected=1299)

        assert (appended.position, appended.stream_position) == (1300, 1300)
        assert await event_store.store.verify() == 1301

    @pytest.mark.parametrize("at", [0, 3, 700])
    @pytest.mark.parametrize("change", ["id", "gap", "repeat", "time", "nul"])
    async def test_copy_that_does_not_continue_the_log_leaves_nothing_behind(
        self, event_store: StoreUnderTest, at: int, change: str
    ) -> None:
        await event_store.store.restore(copies(2, "shelf-B"))
        made = copies(800)
        wrong = {
            "id": made[at]._replace(message_id="shelf-B-1"),
            "gap": made[at]._replace(stream_position=at + 1),
            "repeat": made[at]._replace(stream_position=-1),
            "time": made[at]._replace(microseconds=-1),
            "nul": made[at]._replace(message_id="a\0b"),
        }
        made[at] = wrong[change]

        with pytest.raises(RestoreError, match=f"^line {at}: has "):
            await event_store.store.restore(made)

        assert await event_store.store.head() == 1
        assert await event_store.store.restore(copies(800)) == 800
        assert await event_store.store.verify() == 802

    async def test_two_copies_with_one_id_are_refused(self, event_store: StoreUnderTest) -> None:
        made = copies(600)
        made[550] = made[550]._replace(message_id="shelf-A-549")

        with pytest.raises(RestoreError, match="line 550: has the id 'shelf-A-549'"):
            await event_store.store.restore(made)

        assert await event_store.whole_log() == []

    async def test_source_that_fails_leaves_nothing_behind(self, event_store: StoreUnderTest) -> None:
        def broken() -> Iterator[EventCopy]:
            yield from copies(700)
            raise ValueError("torn")

        with pytest.raises(ValueError, match="torn"):
            await event_store.store.restore(broken())

        assert await event_store.whole_log() == []
        assert (await event_store.store_items("a"))[0].position == 0

    async def test_projections_have_folded_what_was_restored(self, event_store: StoreUnderTest) -> None:
        await event_store.reopen(StockProjection())

        await event_store.store.restore(
            [copy._replace(data=b'{"item":"%d"}' % number) for number, copy in enumerate(copies(600))]
        )
        await event_store.store_items("after")

        assert event_store.folded() == 601
        assert [(state.checkpoint, state.error) for state in await event_store.store.projection_states()] == [
            (600, None)
        ]

    async def test_handlers_do_not_take_what_was_restored_for_news(self, event_store: StoreUnderTest) -> None:
        await event_store.store.checkpoint("stock.old", start=-1)

        await event_store.store.restore(copies(3))

        assert await event_store.store.checkpoint("stock.old", start=-1) == (2, frozenset())

    async def test_message_id_that_was_restored_is_a_duplicate(self, event_store: StoreUnderTest) -> None:
        envelope = correlated(ItemStored(item="a"))
        await event_store.store.restore([COPY._replace(message_id=envelope.message_id)])

        committed = await event_store.complete(Unit([envelope]))

        assert (list(committed.events), list(committed.duplicates)) == ([], [envelope.message_id])
