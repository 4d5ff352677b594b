"""Reading the inbox of one process: from one partition of a topic that all share, only what is addressed to it.

Begins at the end and joins no group; the broker remembers nothing of it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from confluent_kafka import Consumer, Message, TopicPartition

from microlith.transports.kafka.binding import to_parcel
from microlith.transports.kafka.claims import Claim
from microlith.transports.kafka.health import Health
from microlith.transports.kafka.intake import Arriving, Record
from microlith.transports.kafka.reading import Reader
from microlith.transports.protocol import Inbox

_LIMIT = 1_000
"""Arrivals that may wait to be taken."""


class InboxReader(Reader):
    """Reads one inbox, from an offset on."""

    def __init__(
        self,
        connection: Mapping[str, str | int | bool],
        health: Health,
        start: TopicPartition,
        inbox: Inbox,
        put_aside: Callable[[Arriving, str], None],
    ) -> None:
        super().__init__(
            connection, health, start.topic, _LIMIT, partial(to_parcel, of_inbox=True), put_aside, settles=False
        )
        self._name = inbox.name.encode()
        self._group = f"{start.topic}.{inbox.name}"
        self._claim = Claim(start.partition, start.offset, start.offset)

    def settings(self) -> Mapping[str, object]:
        """Tell a group that is never joined: librdkafka wants a name."""
        return {"group.id": self._group}

    def begin(self, consumer: Consumer) -> None:
        """Go on where the last consumer has stopped."""
        consumer.assign([TopicPartition(self.topic, self._claim.number, self._claim.next)])

    def records(self, messages: Sequence[Message]) -> list[Record]:
        """Tell which are addressed to this inbox, and were not read before."""
        found = []
        for message in messages:
            offset = message.offset()
            if offset is not None and offset >= self._claim.next:
                self._claim.next = offset + 1
                if message.key() == self._name:
                    found.append((self._claim, message, offset))
        return found

    def assigned(self) -> frozenset[int]:
        """Tell the one partition."""
        return frozenset({self._claim.number})
