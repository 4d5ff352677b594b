"""The snapshots of the event store in memory.

They are bytes here too, so that no two loads ever share a state.
"""

from collections.abc import Mapping, Sequence

from microlith.event_store.protocol import RecordedEvent
from microlith.event_store.snapshot import Snapshot, SnapshotCheck


class MemorySnapshots:
    """Snapshots by stream and owner."""

    def __init__(self, streams: Mapping[str, Sequence[RecordedEvent]]) -> None:
        self._streams_of_snapshots = streams
        self._snapshots: dict[tuple[str, str], Snapshot] = {}

    async def snapshot(self, stream: str, owner: str) -> Snapshot | None:
        """Read a snapshot."""
        return self._snapshots.get((stream, owner))

    def keep_snapshot(self, snapshot: Snapshot) -> None:
        """Replace the snapshot of its stream and owner."""
        self._snapshots[snapshot.stream, snapshot.owner] = snapshot

    def drop_snapshot(self, stream: str, owner: str) -> None:
        """Remove a snapshot."""
        self._snapshots.pop((stream, owner), None)

    async def drop_snapshots(self) -> int:
        """Remove all snapshots; return how many there were."""
        count = len(self._snapshots)
        self._snapshots.clear()
        return count

    async def check_snapshots(self) -> SnapshotCheck:
        """Look at every snapshot."""
        faults = []
        for one in self._snapshots.values():
            fault = one.fault(len(self._streams_of_snapshots.get(one.stream, ())) - 1)
            if fault is not None:
                faults.append(f"{one.owner} of {one.stream}: {fault}")
        return SnapshotCheck(len(self._snapshots), faults)
