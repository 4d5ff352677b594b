"""Snapshots of an event store in a database: a table of their own, written with the commits around them.

Decides nothing about what a snapshot is good for.
"""

from microlith.event_store.database.batch import Write
from microlith.event_store.database.reading import Look, Readers
from microlith.event_store.database.session import Source
from microlith.event_store.database.statements import statements
from microlith.event_store.database.writer import Writer
from microlith.event_store.snapshot import Snapshot, SnapshotCheck

_PAGE = 500


class DatabaseSnapshots:
    """What a store in a database does for snapshots."""

    _writer: Writer
    _readers: Readers
    _look: Look

    async def snapshot(self, stream: str, owner: str) -> Snapshot | None:
        """Read a snapshot as it is stored."""
        rows = await self._look(self._readers.named, "select_snapshot", stream, owner)
        return Snapshot(*rows[0]) if rows else None

    def keep_snapshot(self, snapshot: Snapshot) -> None:
        """Replace the snapshot of its stream and owner."""
        self._writer.put(Write((), snapshot=snapshot))

    def drop_snapshot(self, stream: str, owner: str) -> None:
        """Remove a snapshot."""
        self._writer.put(Write((), snapshot=(stream, owner)))

    async def drop_snapshots(self) -> int:
        """Remove all snapshots; return how many there were."""
        writer = self._writer
        return await writer.do(lambda: writer.transact(lambda: len(writer.session.named("delete_snapshots"))))

    async def check_snapshots(self) -> SnapshotCheck:
        """Look at every snapshot."""
        return await self._look(check, self._readers)


def check(source: Source) -> SnapshotCheck:
    """Look at every snapshot in a database.

    Raises:
        CorruptionError: The database is damaged where it was read.
    """
    text = statements(f"{source.dialect.name}_reading.sql")["select_snapshots"]
    checked, faults = 0, []
    last = ("", "")
    while rows := source.run(text, (*last, _PAGE)):
        for *values, end in rows:
            one = Snapshot(*values)
            fault = one.fault(end)
            if fault is not None:
                faults.append(f"{one.owner} of {one.stream}: {fault}")
        checked += len(rows)
        last = rows[-1][:2]
    return SnapshotCheck(checked, faults)
