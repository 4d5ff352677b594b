"""Nature, as a simulation makes it: clocks, sleep, ids and chance all follow from the seed.

While it holds, whatever microlith reads of time and ids is virtual; so are `time.time`, `time.monotonic` and `time.sleep`
for code that calls them by these names, and the module `random` starts from the seed. What it cannot reach:
`datetime.now()`, `uuid.uuid4()`, `os.urandom()`.
"""

import random
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from random import Random
from typing import Any
from uuid import UUID

import microlith.ids
from microlith.clock import SystemClock
from microlith.testing.simulation.loop import VirtualLoop
from microlith.testing.simulation.threads import borrowed_here

BEGINNING = 1_767_225_600.0
"""The moment at which every simulation begins: 2026-01-01, midnight, UTC."""


class Patches:
    """Attributes that have another value for a while."""

    def __init__(self) -> None:
        self._before: list[tuple[Any, str, Any]] = []

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Give an attribute another value."""
        self._before.append((owner, name, owner.__dict__[name]))
        setattr(owner, name, value)

    def wrap(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Put something around an attribute as it is now."""
        self.set(owner, name, make(owner.__dict__[name]))

    def take_back(self) -> None:
        """Restore everything, last first."""
        while self._before:
            setattr(*self._before.pop())


@contextmanager
def seeded_nature(loop: VirtualLoop, seed: int) -> Iterator[None]:
    """Let everything that differs from run to run follow from a seed."""
    patches = Patches()
    state = random.getstate()
    random.seed(seed)
    real_result = Future.result

    def wall() -> float:
        return BEGINNING + loop.moment()

    def sleep(seconds: float) -> None:
        borrowed = borrowed_here()
        if borrowed is None:
            loop.now += max(seconds, 0)  # whoever sleeps on the loop keeps everybody waiting
        else:
            borrowed.sleep(seconds)

    def result(self: Any, timeout: float | None = None) -> Any:
        borrowed = borrowed_here()
        if borrowed is None or self.done():
            return real_result(self, timeout)
        borrowed.wait_for(self, timeout)
        return real_result(self, 0)

    instead = {id(time.time): wall, id(time.monotonic): loop.moment, id(time.thread_time): lambda: 0.0}
    try:
        for module in _runtime():
            for name, value in list(vars(module).items()):
                if id(value) in instead:
                    patches.set(module, name, instead[id(value)])
        patches.set(microlith.ids, "uuid7", _id_source(loop, Random(f"ids {seed}")))  # noqa: S311
        patches.set(SystemClock, "monotonic", lambda _clock: loop.moment())
        for name, value in {"time": wall, "monotonic": loop.moment, "sleep": sleep}.items():
            patches.set(time, name, value)
        patches.set(Future, "result", result)
        yield
    finally:
        patches.take_back()
        random.setstate(state)


def _runtime() -> list[Any]:
    """List the modules of the runtime, without those that simulate."""
    return [
        module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == "microlith" and not name.startswith("microlith.testing.simulation")
    ]


def _id_source(loop: VirtualLoop, chance: Random) -> Callable[[], UUID]:
    def uuid7() -> UUID:
        milliseconds = int((BEGINNING + loop.now) * 1000)
        return UUID(int=milliseconds << 80 | 7 << 76 | chance.getrandbits(12) << 64 | 2 << 62 | chance.getrandbits(62))

    return uuid7
