"""One of the processes that share a store, for `bench_shared`: says when it is there and when it has handled its first command.

    python -m benchmarks.shared_worker BROKER STORE APPLICATION

Ends with its stdin.
"""

import asyncio
import sys
from hashlib import pbkdf2_hmac

from microlith import Command, Component, Event, Microlith

SECONDS = 0.005
_TURNS = 10_000
"""As many as take about as long on a processor of today."""


class Wait(Command):
    """Something that waits for somebody else, such as a network."""

    n: int


class Compute(Command):
    """Something that keeps a processor busy."""

    n: int


class DoneEvent(Event):
    """It was done."""

    n: int


def application(broker: str, store: str, name: str, *, deaf: bool = False) -> Microlith:
    """Declare it; `deaf`: it sends only."""
    work = Component("work")

    def first() -> None:
        if not deaf and not told:
            told.append(True)
            _say("handled")

    told: list[bool] = []

    @work.handles(Wait)
    async def wait(command: Wait) -> DoneEvent:
        first()
        await asyncio.sleep(SECONDS)
        return DoneEvent(n=command.n)

    @work.handles(Compute)
    async def compute(command: Compute) -> DoneEvent:
        first()
        pbkdf2_hmac("sha256", b"work", b"shared", _TURNS)
        return DoneEvent(n=command.n)

    return Microlith(name, [work], store=store, buses={"command": broker}, runs=[] if deaf else None)


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def main(broker: str, store: str, name: str) -> None:
    """Work until stdin ends."""
    async with application(broker, store, name):
        _say("there")
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
