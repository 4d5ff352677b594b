"""Ownership of a database: one process at a time, for as long as it lives.

A kernel lock on a file beside the database. It goes when its process goes, however that ends, so it is never stale;
the text in the file only tells people who holds it.

Never deletes the file: a lock on a deleted file would keep nobody out.
"""

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path

from microlith.errors import StoreLockedError

_held: "set[Ownership]" = set()
_watching_forks: list[bool] = []


class Ownership:
    """The lock, held from `take` to `release`."""

    def __init__(self, file: int) -> None:
        self._file: int | None = file

    @classmethod
    def take(cls, path: Path) -> "Ownership":
        """Become the owner of a database.

        Raises:
            StoreLockedError: Another process owns it; names its id and when it began.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = path.with_name(path.name + ".lock")
        file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(file, 200, 0).decode("ascii", "replace").strip()
            os.close(file)
            raise StoreLockedError(str(path), "".join(filter(str.isprintable, owner)) or "another process") from None
        started = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        os.ftruncate(file, 0)
        os.pwrite(file, f"process {os.getpid()}, started {started}\n".encode(), 0)
        ownership = cls(file)
        _held.add(ownership)
        if not _watching_forks:
            _watching_forks.append(True)
            os.register_at_fork(after_in_child=_forget)
        return ownership

    def release(self) -> None:
        """Let go. Safe to call twice."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            _held.discard(self)


def _forget() -> None:
    """Close the lock's file in a forked child, which would otherwise keep the lock when its parent dies."""
    for ownership in list(_held):
        ownership.release()
