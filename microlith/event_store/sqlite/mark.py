"""The mark: how far the log had come, noted outside the database after each commit.

SQLite ends its write-ahead log at the first page that does not match its checksum, which is right after a power cut and
wrong after damage: the newest commits would be gone without a word. The mark tells the two apart. It is not synced, so
it is believed only until the machine is started again.

Holds two numbers; the truth is in the database.
"""

import os
from mmap import mmap
from pathlib import Path
from zlib import crc32

from microlith.errors import CorruptionError

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_LENGTH = 200


class Mark:
    """A small file beside the database, mapped into memory: noting costs no call into the kernel."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".mark")
        self._boot = _BOOT.read_text("ascii").strip() if _BOOT.exists() else ""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            found = os.pread(file, _LENGTH, 0)
            os.pwrite(file, found.ljust(_LENGTH), 0)  # so that there is room for it even when the disk is full
            self._map: mmap | None = mmap(file, _LENGTH)
        finally:
            os.close(file)

    def check(self, head: int, sequence: int) -> None:
        """Compare the log with what was noted.

        Raises:
            CorruptionError: The log ends before what was acknowledged since the machine was started.
        """
        if self._map is None or not self._boot:
            return
        words = self._map[:].decode("ascii", "replace").split()
        if len(words) != 4 or words[0] != self._boot or words[3] != _sum(*words[:3]):
            return
        noted, last = int(words[1]), int(words[2])
        if head < noted or sequence < last:
            raise CorruptionError(
                f"position {head + 1}",
                f"the log ends before it, but position {noted} and command {last} were acknowledged; "
                f"to go on without them, such as from a backup, delete {self._path.name}",
            )

    def note(self, head: int, sequence: int) -> None:
        """Note how far the log has come."""
        if self._map is not None:
            words = self._boot, f"{head}", f"{sequence}"
            self._map[:] = f"{' '.join(words)} {_sum(*words)}".ljust(_LENGTH).encode()

    def forget(self) -> None:
        """Believe nothing that was noted: the database is new."""
        if self._map is not None:
            self._map[:] = b" " * _LENGTH

    def close(self) -> None:
        """Let go of the file. Safe to call twice."""
        if self._map is not None:
            self._map.close()
            self._map = None


def _sum(*words: str) -> str:
    return f"{crc32(' '.join(words).encode()):08x}"
