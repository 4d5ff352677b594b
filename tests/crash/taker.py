"""A process that takes commands over a broker and writes down what it does, one line at a time, until it is killed.

    python -m tests.crash.taker URL APP BOOK [hasty]

A hasty one settles what it is handed before it is done. Lines are "took ID AGAIN" and "done ID"; each is written before the
next step, so that a book never says too much.
"""

import asyncio
import os
import sys

from microlith.transports import Subscribing, Topic, Topology, make_transport

HANDLING = Subscribing(Topic("command", "stock"), "stock")
PREFETCH = 20


async def main(url: str, app: str, book: str, *, hasty: bool = False) -> None:
    """Take until the end."""
    pages = os.open(book, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    transport = make_transport(url)
    await transport.open(Topology(app, (), (HANDLING,)))
    async for arrival in transport.subscribe(HANDLING, prefetch=PREFETCH):
        name = arrival.parcel.attributes["id"]
        os.write(pages, f"took {name} {arrival.again}\n".encode())
        if hasty:
            arrival.settle()
        await asyncio.sleep(0.002)
        os.write(pages, f"done {name}\n".encode())
        arrival.settle()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], hasty="hasty" in sys.argv[4:]))
