"""What a store promises about snapshots: the newest of each stream and owner, as it was written."""

from microlith.event_store.snapshot import Snapshot
from microlith.testing.event_store_contract.stock import StoreUnderTest


class SnapshottingContract:
    """Snapshots are kept, replaced, dropped and checked."""

    async def test_a_snapshot_is_read_as_it_was_written(self, event_store: StoreUnderTest) -> None:
        written = snapshot("shelf-\u00e4", 3, b'{"\xf0\x9f\x94\xa9":1}')
        event_store.store.keep_snapshot(written)
        await event_store.store.flush()

        read = await event_store.store.snapshot("shelf-\u00e4", "Shelf")

        assert read == written
        assert read.is_sound
        assert await event_store.store.snapshot("shelf-\u00e4", "Other") is None
        assert await event_store.store.snapshot("shelf-b", "Shelf") is None

    async def test_a_newer_snapshot_replaces_the_one_before(self, event_store: StoreUnderTest) -> None:
        for position in (3, 7):
            event_store.store.keep_snapshot(snapshot("shelf-a", position))
        event_store.store.keep_snapshot(snapshot("shelf-b", 1))
        await event_store.store.flush()

        read = await event_store.store.snapshot("shelf-a", "Shelf")

        assert read is not None
        assert read.position == 7
        assert (await event_store.store.check_snapshots()).checked == 2

    async def test_a_dropped_snapshot_is_gone_and_the_others_stay(self, event_store: StoreUnderTest) -> None:
        for stream in ("shelf-a", "shelf-b", "shelf-c"):
            event_store.store.keep_snapshot(snapshot(stream, 0))
        event_store.store.drop_snapshot("shelf-a", "Shelf")
        event_store.store.drop_snapshot("shelf-a", "Shelf")
        await event_store.store.flush()

        gone = await event_store.store.snapshot("shelf-a", "Shelf")
        dropped = await event_store.store.drop_snapshots()

        assert (gone, dropped) == (None, 2)
        assert await event_store.store.snapshot("shelf-b", "Shelf") is None

    async def test_a_snapshot_is_there_when_the_store_is_opened_again(self, event_store: StoreUnderTest) -> None:
        await event_store.append("shelf-a", "nut")
        event_store.store.keep_snapshot(snapshot("shelf-a", 0))
        await event_store.reopen()

        assert await event_store.store.snapshot("shelf-a", "Shelf") == snapshot("shelf-a", 0)
        assert await event_store.store.check_snapshots() == (1, [])

    async def test_a_check_names_what_is_damaged_and_what_is_ahead_of_its_stream(
        self, event_store: StoreUnderTest
    ) -> None:
        await event_store.append("shelf-a", "nut")
        for one in (snapshot("shelf-a", 0), snapshot("shelf-b", 0), snapshot("shelf-c", 0)._replace(data=b"{}")):
            event_store.store.keep_snapshot(one)
        await event_store.store.flush()

        checked, faults = await event_store.store.check_snapshots()

        assert checked == 3
        assert sorted(faults) == [
            "Shelf of shelf-b: it is of stream position 0, which the stream does not have",
            "Shelf of shelf-c: its bytes do not match their checksum",
        ]


def snapshot(stream: str, position: int, data: bytes = b'{"items":[]}') -> Snapshot:
    """Make a snapshot of a shelf."""
    return Snapshot.of(stream, "Shelf", position, "f00d", data)
