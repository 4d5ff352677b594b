"""Memory of this process over the time of some work: is it flat?"""

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

_MIB = 1024 * 1024


def resident(process: int | str = "self") -> float:
    """Return the resident memory of a process, this one by default, in MiB."""
    return int(Path(f"/proc/{process}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / _MIB


class Resident:
    """Samples the resident memory while its block runs; `begun` marks where growing should have ended.

    Attributes:
        samples: MiB, in the order of time.
    """

    def __init__(self, every: float = 0.05) -> None:
        self.samples: list[float] = []
        self._every = every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._warm = 0

    def begun(self) -> None:
        """Say that caches are filled by now: from here on memory should stay as it is. Only the first call counts."""
        self._warm = self._warm or len(self.samples)

    @property
    def at_first(self) -> float:
        """The most that was used until `begun`."""
        return max(self.samples[: max(1, self._warm)])

    @property
    def later(self) -> float:
        """The most that was used from there on."""
        return max(self.samples[self._warm :] or self.samples)

    def __enter__(self) -> Self:
        self.samples.append(resident())
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        self.samples.append(resident())

    def _sample(self) -> None:
        while not self._over.wait(self._every):
            self.samples.append(resident())
