"""A taker over Kafka that is careless: it leaves a mark with each commit that nothing was handed out beyond it.

python -m tests.crash.kafka_taker URL APP BOOK
"""

import asyncio
import sys
from unittest.mock import patch

from confluent_kafka import TopicPartition

from microlith.transports.kafka.claims import Claim
from microlith.transports.kafka.group_reader import GroupReader
from microlith.transports.kafka.marks import UNTOUCHED
from tests.crash.taker import main


def be_careless() -> None:
    """Plant a bug."""
    write_down = GroupReader._progress

    def progress(self: GroupReader, claim: Claim) -> TopicPartition:
        commit = write_down(self, claim)
        return TopicPartition(commit.topic, commit.partition, commit.offset, UNTOUCHED)

    patch.object(GroupReader, "_progress", progress).start()


if __name__ == "__main__":
    be_careless()
    asyncio.run(main(*sys.argv[1:4]))
