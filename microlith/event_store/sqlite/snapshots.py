"""Snapshots of a SQLite event store: a table of their own, written with the commits around them.

Decides nothing about what a snapshot is good for.
"""

from microlith.event_store.snapshot import Snapshot, SnapshotCheck
from microlith.event_store.sqlite.batch import Write
from microlith.event_store.sqlite.reading import Readers
from microlith.event_store.sqlite.rows import Run
from microlith.event_store.sqlite.statements import statements
from microlith.event_store.sqlite.writer import Writer

_PAGE = 500


class SQLiteSnapshots:
    """What a store in a file does for snapshots."""

    _writer: Writer
    _readers: Readers

    async def snapshot(self, stream: str, owner: str) -> Snapshot | None:
        """Read a snapshot as it is stored."""
        rows = self._readers.run(statements("sqlite_reading.sql")["select_snapshot"], (stream, owner))
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
        return check(self._readers.run)


def check(run: Run) -> SnapshotCheck:
    """Look at every snapshot in a database.

    Raises:
        CorruptionError: The file is damaged where it was read.
    """
    checked, faults = 0, []
    last = ("", "")
    while rows := run(statements("sqlite_reading.sql")["select_snapshots"], (*last, _PAGE)):
        for *values, end in rows:
            one = Snapshot(*values)
            fault = one.fault(end)
            if fault is not None:
                faults.append(f"{one.owner} of {one.stream}: {fault}")
        checked += len(rows)
        last = rows[-1][:2]
    return SnapshotCheck(checked, faults)
