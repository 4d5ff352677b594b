"""Decisions: events that a handler wants at the end of one stream, if nobody came first.

What the handler of an aggregate returns, and that of a process. Several messages for one stream are handled one at a
time; a race that is lost all the same is decided anew.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from microlith.envelope import Envelope

MAX_CONFLICTS = 3
"""How often a lost race is decided anew before the conflict is the command's failure."""


class Decision:
    """Events to append to a stream, all or none.

    Attributes:
        events: Messages, in order; possibly none.
        step: The one event that is appended to the stream, of a process; the others then go where they always go.
            None: all go to the stream.
        stream: Name of the stream.
        expected_position: Last stream position the decision was based on; -1 for a new stream.
        release: Called once the decision is committed or given up: lets the next command of the stream in.
        committed: Called after the commit; None for most.
        clears: Whether what was scheduled in the name of the stream is cancelled: of a process that has ended.
    """

    __slots__ = ("clears", "committed", "events", "expected_position", "release", "step", "stream")

    def __init__(
        self,
        events: Sequence[Any],
        stream: str,
        expected_position: int,
        release: Callable[[], None],
        committed: Callable[[], None] | None = None,
        *,
        step: Envelope[Any] | None = None,
        clears: bool = False,
    ) -> None:
        self.events = events
        self.stream = stream
        self.expected_position = expected_position
        self.release = release
        self.committed = committed
        self.step = step
        self.clears = clears

    def end(self, *, committed: bool) -> None:
        """Let the next command of the stream in; if this one is committed, tell who waits for that."""
        self.release()
        if committed and self.committed is not None:
            self.committed()


class Ignored:
    """That a handler was asked and the message was not for it; the reason is shown by the tracer."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


class KeyedLocks:
    """One lock for each key in use; a key that nobody holds or waits for costs nothing."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    def __len__(self) -> int:
        return len(self._locks)

    async def acquire(self, key: str) -> Callable[[], None]:
        """Wait for a key, in order of arrival, and return what lets go of it; that may be called twice."""
        lock, users = self._locks.get(key) or (asyncio.Lock(), 0)
        self._locks[key] = (lock, users + 1)
        try:
            await lock.acquire()
        except BaseException:
            self._leave(key)
            raise
        held = True

        def release() -> None:
            nonlocal held
            if held:
                held = False
                lock.release()
                self._leave(key)

        return release

    def _leave(self, key: str) -> None:
        lock, users = self._locks[key]
        if users == 1:
            del self._locks[key]
        else:
            self._locks[key] = (lock, users - 1)
