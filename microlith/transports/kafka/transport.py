"""The transport over Kafka: one producer, a reader for each subscription, a reader for the inbox."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from logging import getLogger

from confluent_kafka import TopicPartition

from microlith.payloads import MAX_BYTES
from microlith.transports.errors import ParcelRefusedError, TransportUnavailableError
from microlith.transports.kafka.asking import aside
from microlith.transports.kafka.binding import Record, to_record, to_refused
from microlith.transports.kafka.group_reader import GroupReader
from microlith.transports.kafka.groups import GroupProtocol
from microlith.transports.kafka.health import Health
from microlith.transports.kafka.inbox_reader import InboxReader
from microlith.transports.kafka.intake import Arriving
from microlith.transports.kafka.names import inbox_topic, refused_topic, topic_name
from microlith.transports.kafka.planning import plan, prepare
from microlith.transports.kafka.reading import Reader
from microlith.transports.kafka.sending import Sender
from microlith.transports.kafka.settings import Settings, read_url
from microlith.transports.protocol import Address, Change, Inbox, Parcel, Subscribing, Topology

_LOG = getLogger(__name__)
_ASIDE_SECONDS = 2.0
"""How long closing waits for what is being put aside; later it comes again."""


class KafkaTransport:
    """A connection to Kafka. See `Transport` for what it promises.

    Args:
        url: Such as "kafka://127.0.0.1:9092", see `settings`.

    Raises:
        TransportUrlError: The url means nothing.
    """

    largest = MAX_BYTES

    def __init__(self, url: str) -> None:
        self._settings: Settings = read_url(url)
        self._health = Health()
        self._protocol = GroupProtocol(self._settings.group_protocol)
        self._topology: Topology | None = None
        self._sender: Sender | None = None
        self._inbox_start: TopicPartition | None = None
        self._readers: set[Reader] = set()
        self._putting_aside: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def broker(self) -> str:
        """What it speaks to, without a password."""
        return self._settings.broker

    async def plan(self, topology: Topology) -> list[Change]:
        """Tell which topics are missing, and which differ."""
        return await aside(lambda: plan(self._settings, topology))

    async def open(self, topology: Topology) -> None:
        """Create the topics that are missing, find out where to begin, and start the producer."""
        self._inbox_start = await aside(lambda: prepare(self._settings, topology))
        self._topology = topology
        self._sender = Sender(self._settings.connection, self._health, inbox_topic(topology.app))
        self._sender.start()

    async def publish(self, parcels: Sequence[tuple[Address, Parcel]]) -> None:
        """Send parcels; while the broker is away, this waits for it."""
        topology, sender = self._opened()
        records: list[Record] = []
        too_large = None
        for index, (address, parcel) in enumerate(parcels):
            if len(parcel.data) > self.largest:
                problem = f"{len(parcel.data)} bytes of data are more than {self.largest}"
                too_large = ParcelRefusedError(index, problem)
                break
            records.append(_record(topology.app, address, parcel))
        failure = await sender.send(records) if records else None
        if failure is not None:
            if failure.outcome == "refused":
                raise ParcelRefusedError(failure.place, failure.reason)
            raise TransportUnavailableError(self.broker, failure.reason)
        if too_large is not None:
            raise too_large

    def subscribe(self, wanted: Subscribing, *, prefetch: int) -> AsyncIterator[Arriving]:
        """Yield what comes for a group."""
        topology, _ = self._opened()
        reader = GroupReader(
            self._settings.connection,
            self._health,
            self._protocol,
            topology.app,
            wanted,
            prefetch,
            self._refuse,
        )
        return self._arrivals(reader)

    def listen(self, inbox: Inbox) -> AsyncIterator[Arriving]:
        """Yield what comes to the inbox."""
        self._opened()
        if self._inbox_start is None:
            raise TransportUnavailableError(self.broker, f"the topology has no inbox {inbox.name!r}")
        return self._arrivals(
            InboxReader(self._settings.connection, self._health, self._inbox_start, inbox, self._refuse)
        )

    def watch(self, changed: Callable[[bool, str], None]) -> None:
        """Have a function told when the brokers are lost, and when they are back."""
        self._health.watchers.append(changed)

    async def close(self) -> None:
        """Commit what was settled, and let go of everything."""
        if self._closed:
            return
        self._closed = True
        for reader in self._readers:
            reader.intake.close()
        if self._putting_aside:
            await asyncio.wait(self._putting_aside, timeout=_ASIDE_SECONDS)
        for task in self._putting_aside:
            task.cancel()
        await asyncio.gather(*(reader.stop() for reader in list(self._readers)))
        if self._sender is not None:
            await self._sender.stop()
        await asyncio.gather(*self._putting_aside, return_exceptions=True)

    def _opened(self) -> tuple[Topology, Sender]:
        if self._topology is None or self._sender is None or self._closed:
            raise TransportUnavailableError(self.broker, "the transport is not open")
        return self._topology, self._sender

    async def _arrivals(self, reader: Reader) -> AsyncIterator[Arriving]:
        if self._closed:
            return
        self._readers.add(reader)
        reader.ended.add_done_callback(lambda _: self._readers.discard(reader))
        reader.start()
        intake = reader.intake
        try:
            while await intake.more():
                while (arriving := intake.pop()) is not None:
                    yield arriving
        finally:
            reader.leave()

    def _refuse(self, arriving: Arriving, reason: str) -> None:
        if self._closed:
            return
        topology, sender = self._opened()
        record = to_refused(refused_topic(topology.app), arriving.message, reason)
        task = asyncio.get_running_loop().create_task(self._put_aside(sender, record, arriving))
        self._putting_aside.add(task)
        task.add_done_callback(self._putting_aside.discard)

    async def _put_aside(self, sender: Sender, record: Record, arriving: Arriving) -> None:
        """Send what was refused to its topic, for as long as it takes; then it is settled."""
        while (failure := await sender.send([record])) is not None:
            if failure.outcome == "refused":
                _LOG.error("A refused record could not be put aside, and comes again: %s", failure.reason)
                return
        arriving.intake.settle(arriving)


def _record(app: str, address: Address, parcel: Parcel) -> Record:
    if isinstance(address, Inbox):
        return to_record(inbox_topic(app), parcel, inbox=address.name)
    return to_record(topic_name(app, address), parcel)
