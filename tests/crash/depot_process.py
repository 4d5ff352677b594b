"""One process of the depot, for tests that kill it: says on stdout what it does and when, and ends with its stdin.

    python -m tests.crash.depot_process BROKER STORE NAME [PLANT]

A line has the nanoseconds of a clock that all processes of a machine share, a word, and what it is about.
"""

import asyncio
import logging
import sys
from time import monotonic_ns

from microlith.errors import StoreError
from microlith.event_store.database.batch import Batch, Write
from microlith.event_store.postgres.claims import Claims
from microlith.event_store.protocol import ArrivedSettlement, Committed
from tests.crash.depot import depot


def say(*words: str) -> None:
    """Write one line, whole and at once: what was said is known, whatever befalls the process then."""
    sys.stdout.write(" ".join((str(monotonic_ns()), *words)) + "\n")
    sys.stdout.flush()


async def _claims_all_at_once(_claims: Claims, _handler: str, _key: str) -> int:
    return 0


def plant(bug: str) -> None:
    """Break this process on purpose."""
    if bug == "claims nothing":
        Claims.take = _claims_all_at_once  # type: ignore[method-assign,assignment]
        Claims.let_go = lambda *_: None  # type: ignore[method-assign]
    elif bug == "settles nothing":
        add = Batch.add

        def adds(batch: Batch, write: Write) -> Committed | StoreError:
            write.settlement = None if isinstance(write.settlement, ArrivedSettlement) else write.settlement
            return add(batch, write)

        Batch.add = adds  # type: ignore[method-assign,assignment]
    else:
        raise ValueError(bug)


async def main(broker: str, store: str, name: str, *bugs: str) -> None:
    """Work until stdin ends."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    for bug in bugs:
        plant(bug)
    async with depot(broker, store, {}, name, tell=lambda *words: say(*(word for word in words if word))) as app:
        say("open")
        ending = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        led = False
        while not ending.done():
            if app.store.leads != led:
                led = app.store.leads
                say("leads")
            await asyncio.wait([ending], timeout=0.05)
    say("closed")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
