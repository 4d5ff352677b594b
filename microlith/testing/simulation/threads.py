"""Threads of a simulation: they take turns with the loop, so that chance has no say in them.

What a `def` handler does runs in a real thread, while the loop stands still until it ends, sleeps or waits for the loop.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from microlith.testing.simulation.loop import VirtualLoop

_here = threading.local()


class _AbandonedError(BaseException):
    """The simulation is over; the thread ends."""


class Borrowed:
    """One call in a thread of its own."""

    def __init__(self, loop: VirtualLoop, future: asyncio.Future[Any], call: Callable[[], Any]) -> None:
        self.loop = loop
        self._future = future
        self._call = call
        self._go = threading.Event()
        self._rests = threading.Event()
        self._value: Any = None
        self._error: BaseException | None = None
        self._abandoned = False
        self.ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def begin(self) -> None:
        """Start, unless nobody wants it any more, and let it run until it rests."""
        if not self._future.cancelled():
            self._thread.start()
            self.turn()

    def turn(self) -> None:
        """Let it run until it rests. On the loop."""
        if self.ended:
            return
        self._rests.clear()
        self._go.set()
        self._rests.wait()
        if self._thread_has_ended() and not self._future.done():
            if self._error is not None:
                self._future.set_exception(self._error)
            else:
                self._future.set_result(self._value)

    def _thread_has_ended(self) -> bool:
        return self.ended

    def rest(self) -> None:
        """Let the loop go on until somebody calls `turn`. In the thread."""
        self._go.clear()
        self._rests.set()
        self._go.wait()
        if self._abandoned:
            raise _AbandonedError

    def sleep(self, seconds: float) -> None:
        """Sleep in virtual time. In the thread."""
        self.loop.call_soon_threadsafe(lambda: self.loop.call_later(max(seconds, 0), self.turn))
        self.rest()

    def wait_for(self, future: Future[Any], timeout: float | None) -> None:
        """Wait for a future that the loop will end. In the thread."""
        woken = False

        def wake(_: Any = None) -> None:
            nonlocal woken
            if not woken:
                woken = True
                self.loop.call_soon(self.turn)

        self.loop.call_soon_threadsafe(future.add_done_callback, wake)
        if timeout is not None:
            seconds = timeout
            self.loop.call_soon_threadsafe(lambda: self.loop.call_later(seconds, wake))
        self.rest()

    def abandon(self) -> None:
        """End the thread, if it has not ended."""
        if self._thread.is_alive():
            self._abandoned = True
            self._go.set()
            self._thread.join(1.0)

    def _run(self) -> None:
        self._go.wait()
        _here.borrowed = self
        try:
            self._value = self._call()
        except _AbandonedError:
            pass
        except BaseException as error:  # noqa: BLE001 (handed to whoever awaits the call)
            self._error = error
        self.ended = True
        self._rests.set()


def borrowed_here() -> Borrowed | None:
    """Return the call that this thread was made for; None on the loop."""
    return getattr(_here, "borrowed", None)


class Threads:
    """The threads of one simulation."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._all: list[Borrowed] = []

    def borrow(self, future: asyncio.Future[Any], call: Callable[[], Any]) -> None:
        """Run a call; the future gets what comes of it."""
        borrowed = Borrowed(self._loop, future, call)
        self._all = [one for one in self._all if not one.ended]
        self._all.append(borrowed)
        borrowed.begin()

    def abandon(self) -> None:
        """End what is left."""
        for borrowed in self._all:
            borrowed.abandon()
