"""A process that takes commands over Kafka and writes down what it does, one line at a time, until it is killed.

    python -m tests.crash.kafka_taker URL APP BOOK [careless]

A careless one leaves a mark with each commit that nothing was handed out beyond it. Lines are "took ID AGAIN" and "done ID"; each is written before the next step, so that a book never says too much.
"""

import asyncio
import os
import sys
from unittest.mock import patch

from confluent_kafka import TopicPartition

from microlith.transports import Subscribing, Topic, Topology, make_transport
from microlith.transports.kafka.claims import Claim
from microlith.transports.kafka.group_reader import GroupReader
from microlith.transports.kafka.marks import UNTOUCHED

HANDLING = Subscribing(Topic("command", "stock"), "stock")
PREFETCH = 20


async def main(url: str, app: str, book: str) -> None:
    """Take until the end."""
    pages = os.open(book, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    transport = make_transport(url)
    await transport.open(Topology(app, (), (HANDLING,)))
    async for arrival in transport.subscribe(HANDLING, prefetch=PREFETCH):
        name = arrival.parcel.attributes["id"]
        os.write(pages, f"took {name} {arrival.again}\n".encode())
        await asyncio.sleep(0.002)
        os.write(pages, f"done {name}\n".encode())
        arrival.settle()


def be_careless() -> None:
    """Plant a bug."""
    write_down = GroupReader._progress

    def progress(self: GroupReader, claim: Claim) -> TopicPartition:
        commit = write_down(self, claim)
        return TopicPartition(commit.topic, commit.partition, commit.offset, UNTOUCHED)

    patch.object(GroupReader, "_progress", progress).start()


if __name__ == "__main__":
    if "careless" in sys.argv[4:]:
        be_careless()
    asyncio.run(main(*sys.argv[1:4]))
