"""Clocks: wall time for data, monotonic time for durations.

Durations and timeouts use the monotonic clock only, so a jump of the wall clock moves no
timeout. Order never comes from time.
"""

import time as _time
from datetime import UTC, datetime
from typing import Protocol

_RUNNING: int = getattr(_time, "CLOCK_BOOTTIME", _time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Source of time. Replaced by a virtual one in tests."""

    def time(self) -> float:
        """Return seconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds from a fixed but unknown start; never goes back."""
        ...


class SystemClock:
    """The clock of the machine."""

    def time(self) -> float:
        """Return seconds since the epoch, UTC."""
        return _time.time()

    def monotonic(self) -> float:
        """Return seconds from a fixed but unknown start; never goes back. Counts the time a machine sleeps, where it can."""
        return _time.clock_gettime(_RUNNING)


def iso(moment: float) -> str:
    """Write seconds since the epoch as an RFC 3339 time in UTC, with microseconds."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
