"""RabbitMQ, as the application sees it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence

from microlith.payloads import MAX_BYTES
from microlith.transports.errors import ParcelRefusedError, TopologyDriftError, TransportUnavailableError
from microlith.transports.protocol import Address, Arrival, Change, Inbox, Parcel, Subscribing, Topology, wants
from microlith.transports.rabbitmq import topology as at_broker
from microlith.transports.rabbitmq.line import Connected, Line, is_loss, overlooking_loss, text_of
from microlith.transports.rabbitmq.packing import Packet, pack, pack_aside
from microlith.transports.rabbitmq.place import place_of
from microlith.transports.rabbitmq.sending import Sender
from microlith.transports.rabbitmq.taking import Taking

logger = logging.getLogger("microlith.transports")

_INBOX_PREFETCH = 200
"""How many of an inbox are fetched ahead; nobody settles them, so this bounds memory and nothing else."""
SHARED_PREFETCH = 32
"""How many commands are in one process and not settled at most, where several share them. What one has fetched no other can
do: of 200 that wait for a handler of 50 ms, one that fetches 200 leaves nothing to another that comes 0.3 s later, and all
are done after 10.9 s; with 32 after 5.6 s. Fewer make handlers wait for the broker, which writes to its disk what is settled
before it sends more: those that handle 16 at a time, for 8 ms, do 0.94 of what they do with 200; 0.4 with 8. And 32 that
take as long as a handler may, 30 s, are done before the broker's `consumer_timeout`, 30 minutes, ends the channel."""
_PATIENCE = 5.0


class RabbitMQTransport:
    """A connection to RabbitMQ; see `microlith.transports.protocol` for what it promises.

    Args:
        url: `rabbitmq://user:password@host:port/vhost?heartbeat=10&shared=yes`, or `rabbitmqs://` for TLS.

    Raises:
        TransportUrlError: The url means nothing.
    """

    def __init__(self, url: str) -> None:
        self._place = place_of(url)
        self._topology = Topology("")
        self._sending: Line | None = None
        self._taking: Line | None = None
        self._sender: Sender | None = None
        self._takings: list[Taking] = []
        self._watchers: list[Callable[[bool, str], None]] = []
        self._lost: set[Line] = set()
        self._closed = False

    @property
    def broker(self) -> str:
        """Where it is, without user and password."""
        return self._place.shown

    @property
    def largest(self) -> int:
        """How many bytes of data one parcel may have."""
        return MAX_BYTES if self._sender is None else self._sender.largest

    async def plan(self, topology: Topology) -> list[Change]:
        """Tell what the broker lacks, and what differs; on a connection of its own."""
        found: list[Change] = []

        async def compare(connection: Connected) -> None:
            found.extend(await at_broker.compare(connection, topology, shared=self._place.shared))

        line = Line(self._place, f"{topology.app} (plan)", compare, lambda *_: None)
        await line.start()
        await line.close()
        return found

    async def open(self, topology: Topology) -> None:
        """Connect, and create what is missing."""
        silence_library()
        differences = [change for change in await self.plan(topology) if change.action == "differs"]
        if differences:
            raise TopologyDriftError(self.broker, [_text_of(one) for one in differences])
        self._topology = topology
        sending = Line(self._place, f"{topology.app} (sends)", self._prepare, self._note)
        await sending.start()
        self._sending = sending
        self._sender = Sender(sending, self.broker, lambda: self._declare(sending))
        if topology.takes or topology.inbox is not None:
            taking = Line(self._place, f"{topology.app} (takes)", self._prepare, self._note)
            try:
                await taking.start()
            except BaseException:
                await sending.close()
                self._sending = self._sender = None
                raise
            self._taking = taking

    async def publish(self, parcels: Sequence[tuple[Address, Parcel]]) -> None:
        """Send parcels in order, and wait for the broker's confirmation of all."""
        sender = self._opened()
        refused: ParcelRefusedError | None = None
        packets: list[Packet] = []
        for index, (address, parcel) in enumerate(parcels):
            try:
                if len(parcel.data) > sender.largest:
                    raise ValueError(f"{len(parcel.data)} bytes are more than {sender.largest}")
                packets.append(pack(self._topology.app, address, parcel))
            except ValueError as error:
                refused = ParcelRefusedError(index, str(error))
                break
        if packets:
            await sender.send(packets)
        if refused is not None:
            raise refused

    def subscribe(self, wanted: Subscribing, *, prefetch: int) -> AsyncIterator[Arrival]:
        """Yield what comes for a group."""
        queue = at_broker.Names(self._topology.app).queue(wanted)
        shared = wanted.topic.kind == "command" and self._place.shared
        if shared:
            prefetch = min(prefetch, SHARED_PREFETCH)
        taking = self._take(queue, prefetch, lambda parcel: wants(wanted, parcel), settles=False)
        # Of a queue with one consumer at a time nothing is given back: the next would begin while this one is not done.
        return _until_left(taking) if shared or wanted.topic.kind == "query" else taking

    def listen(self, inbox: Inbox) -> AsyncIterator[Arrival]:
        """Yield what comes to the inbox."""
        queue = at_broker.Names(self._topology.app).inbox(inbox)
        return self._take(queue, _INBOX_PREFETCH, lambda _: True, settles=True)

    def watch(self, changed: Callable[[bool, str], None]) -> None:
        """Have a function told when the broker is lost, and when it is back."""
        self._watchers.append(changed)

    async def close(self) -> None:
        """Tell the broker what was settled, delete the inbox, and hang up."""
        if self._closed:
            return
        self._closed = True
        try:
            await asyncio.gather(*(taking.close() for taking in self._takings))
            await self._delete_inbox()
        finally:
            lines = [line for line in (self._taking, self._sending) if line is not None]
            await asyncio.gather(*(line.close() for line in lines))

    def _opened(self) -> Sender:
        if self._sender is None or self._closed:
            raise TransportUnavailableError(
                self.broker, f"the transport {'was closed' if self._closed else 'is not open'}"
            )
        return self._sender

    def _take(self, queue: str, prefetch: int, takes: Callable[[Parcel], bool], *, settles: bool) -> Taking:
        line = self._taking
        if line is None:
            raise TransportUnavailableError(self.broker, "the transport was not opened to take anything")
        taking = Taking(
            line,
            queue,
            prefetch=prefetch,
            wants=takes,
            settles=settles,
            declare=lambda: self._declare(line),
            put_aside=self._put_aside,
        )
        self._takings.append(taking)
        return taking

    async def _put_aside(self, queue: str, parcel: Parcel, reason: str) -> None:
        if self._sender is not None:
            await self._sender.send([pack_aside(self._topology.app, queue, parcel, reason)])

    async def _delete_inbox(self) -> None:
        line, inbox = self._taking, self._topology.inbox
        if line is None or inbox is None or line in self._lost:
            return
        with overlooking_loss():
            async with asyncio.timeout(_PATIENCE):
                channel = await (await line.get()).open_channel(confirms=False)
                await channel.queue_delete(at_broker.Names(self._topology.app).inbox(inbox))

    async def _prepare(self, connection: Connected) -> None:
        differs = await at_broker.declare(connection, self._topology, shared=self._place.shared)
        if differs is not None:
            raise TopologyDriftError(self.broker, [_text_of(differs)])

    async def _declare(self, line: Line) -> None:
        try:
            await self._prepare(await line.get())
        except BaseException as error:
            if not is_loss(error):
                raise
            raise TransportUnavailableError(self.broker, text_of(error)) from error

    def _note(self, line: Line, there: bool, why: str) -> None:
        """Tell the watchers: it is lost with the first of the lines, and back with the last."""
        was_lost = bool(self._lost)
        if there:
            self._lost.discard(line)
        else:
            self._lost.add(line)
        if bool(self._lost) != was_lost:
            for changed in self._watchers:
                try:
                    changed(there, why)
                except Exception:
                    logger.exception("Who watches %s failed", self.broker)


async def _until_left(taking: Taking) -> AsyncIterator[Arrival]:
    """Yield what comes; have others take it once this iteration is left, as by a process that finishes what it has."""
    try:
        async for arrival in taking:
            yield arrival
    finally:
        taking.leave()


def _text_of(change: Change) -> str:
    return f"{change.what} {change.name}: {change.detail}"


def silence_library() -> None:
    """Keep the library from logging each lost connection with a traceback, unless somebody has set how much it says.

    What there is to tell is told by this transport, in a line.
    """
    library = logging.getLogger("aiormq")
    if library.level == logging.NOTSET:
        library.setLevel(logging.CRITICAL)
