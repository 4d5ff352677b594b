"""The mark: how far the log had come, noted outside the database after each commit.

SQLite ends its write-ahead log at the first page that does not match its checksum, which is right after a power cut and
wrong after damage: the newest commits would be gone without a word. The mark tells the two apart. It is not synced, so
it is believed only until the machine is started again.

Holds two numbers; the truth is in the database.
"""

import os
from pathlib import Path
from zlib import crc32

from microlith.errors import CorruptionError

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_LENGTH = 200


class Mark:
    """A small file beside the database."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".mark")
        self._file: int | None = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._boot = _BOOT.read_text("ascii").strip() if _BOOT.exists() else ""

    def check(self, head: int, sequence: int) -> None:
        """Compare the log with what was noted.

        Raises:
            CorruptionError: The log ends before what was acknowledged since the machine was started.
        """
        if self._file is None or not self._boot:
            return
        words = os.pread(self._file, _LENGTH, 0).decode("ascii", "replace").split()
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
        """Note how far the log has come. For a store that is closed, do nothing."""
        if self._file is not None:
            words = self._boot, f"{head}", f"{sequence}"
            os.pwrite(self._file, f"{' '.join(words)} {_sum(*words)}\n".ljust(_LENGTH).encode(), 0)

    def forget(self) -> None:
        """Believe nothing that was noted: the database is new."""
        if self._file is not None:
            os.ftruncate(self._file, 0)

    def close(self) -> None:
        """Let go of the file. Safe to call twice."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _sum(*words: str) -> str:
    return f"{crc32(' '.join(words).encode()):08x}"
