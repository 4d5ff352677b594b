"""What has to be there at a RabbitMQ: exchanges, queues and bindings; their names, their settings, and how they are made.

    {app}.commands             direct exchange    → quorum queue {app}.commands.{component}, there before its component is
                                                    and, where commands are shared, taken from by several at a time
    {app}.queries              direct exchange    → queue {app}.queries.{component}, gone with its last consumer
    {app}.events               topic exchange     → quorum queue {app}.events.{component}.{group}, by `component.Type`
    {app}.refused              fanout exchange    → quorum queue {app}.refused: what was put aside, or died too often
                                                    queue {app}.inbox.{name}, gone soon after its process

AMQP tells whether a queue is there and has certain settings, and not which bindings it has. So a binding that is no longer
wanted stays; what comes over it is settled unread.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from aiormq import Channel, ChannelNotFoundEntity, ChannelPreconditionFailed

from microlith.transports.protocol import Change, Inbox, Subscribing, Topology
from microlith.transports.rabbitmq.line import Connected

DELIVERY_LIMIT = 100
"""How often the broker hands one parcel out again. The last resort against one that kills whoever takes it."""
ABANDONED = 60_000
"""Milliseconds for which a query waits, and after which a place that nobody listens at goes."""

ALONE = "x-single-active-consumer"
"""Argument of a queue that one consumer takes from at a time, and another when that one goes."""

_Arguments = dict[str, Any]


class Names(NamedTuple):
    """What things are called at the broker, for an application."""

    app: str

    @property
    def commands(self) -> str:
        """The exchange of commands."""
        return f"{self.app}.commands"

    @property
    def queries(self) -> str:
        """The exchange of queries."""
        return f"{self.app}.queries"

    @property
    def events(self) -> str:
        """The exchange of events."""
        return f"{self.app}.events"

    @property
    def refused(self) -> str:
        """The exchange, and the queue, of what was put aside."""
        return f"{self.app}.refused"

    def queue(self, wanted: Subscribing) -> str:
        """The queue of a group."""
        kind, component = wanted.topic
        if kind == "event":
            return f"{self.events}.{component}.{wanted.group}"
        return f"{self.commands if kind == 'command' else self.queries}.{component}"

    def inbox(self, inbox: Inbox) -> str:
        """The queue of an inbox."""
        return f"{self.app}.inbox.{inbox.name}"


class Exchange(NamedTuple):
    """An exchange. All of them outlive the broker."""

    name: str
    kind: str

    async def declare(self, channel: Channel, *, only_look: bool = False) -> None:
        """Make it; or only look whether it is there."""
        await channel.exchange_declare(self.name, exchange_type=self.kind, durable=True, passive=only_look)

    def missing(self) -> Change:
        """Tell that it is missing."""
        return Change("create", "exchange", self.name, self.kind)

    def differing(self, how: str) -> Change:
        """Tell that it differs."""
        return Change("differs", "exchange", self.name, how)


class Queue(NamedTuple):
    """A queue, with the bindings it needs. All of them outlive the broker, which is not true of what is in them."""

    name: str
    arguments: _Arguments
    goes: bool = False
    bound: tuple[tuple[str, str], ...] = ()

    async def declare(self, channel: Channel, *, only_look: bool = False) -> None:
        """Make it; or only look whether it is there."""
        await channel.queue_declare(
            self.name, durable=True, auto_delete=self.goes, passive=only_look, arguments=self.arguments
        )

    def missing(self) -> Change:
        """Tell that it is missing."""
        detail = ", ".join(f"{name}={value}" for name, value in sorted(self.arguments.items()))
        keys = " ".join(f"{exchange}:{key}" for exchange, key in self.bound)
        return Change("create", "queue", self.name, f"{detail}; bound to {keys}" if keys else detail)

    def differing(self, how: str) -> Change:
        """Tell that it differs."""
        return Change("differs", "queue", self.name, how)


def needed(topology: Topology, *, shared: bool) -> list[Exchange | Queue]:
    """Return what a topology needs, each once, exchanges before the queues that are bound to them.

    Args:
        topology: The topology.
        shared: Whether several processes of a component take its commands side by side.
    """
    names = Names(topology.app)
    kinds = {topic.kind for topic in topology.sends} | {one.topic.kind for one in topology.takes}
    exchanges = [Exchange(names.refused, "fanout")]
    exchanges += [Exchange(names.commands, "direct")] if "command" in kinds else []
    exchanges += [Exchange(names.queries, "direct")] if "query" in kinds else []
    exchanges += [Exchange(names.events, "topic")] if "event" in kinds else []
    queues = {queue.name: queue for queue in _queues(names, topology, shared=shared)}
    return [*exchanges, *queues.values()]


def _queues(names: Names, topology: Topology, *, shared: bool) -> Iterator[Queue]:
    yield Queue(names.refused, {"x-queue-type": "quorum"}, bound=((names.refused, ""),))
    kept = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": names.refused,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    alone = {**kept, ALONE: True}
    passing = {"x-queue-type": "classic", "x-message-ttl": ABANDONED, "x-expires": ABANDONED}
    for wanted in (*(Subscribing(topic, topic.component) for topic in topology.sends), *topology.takes):
        topic = wanted.topic
        if topic.kind == "command":
            yield Queue(names.queue(wanted), kept if shared else alone, bound=((names.commands, topic.component),))
    for wanted in topology.takes:
        name, component = names.queue(wanted), wanted.topic.component
        if wanted.topic.kind == "query":
            yield Queue(name, passing, goes=True, bound=((names.queries, component),))
        elif wanted.topic.kind == "event":
            types = ["#"] if wanted.types is None else sorted(wanted.types)
            yield Queue(name, alone, bound=tuple((names.events, f"{component}.{name}") for name in types))
    if topology.inbox is not None:
        yield Queue(names.inbox(topology.inbox), {"x-queue-type": "classic", "x-expires": ABANDONED})


async def declare(connection: Connected, topology: Topology, *, shared: bool) -> Change | None:
    """Make what a topology needs and the broker does not have; stop at what differs there, and return that."""
    channel = await connection.open_channel(confirms=False)
    for one in needed(topology, shared=shared):
        try:
            await one.declare(channel)
        except ChannelPreconditionFailed as refused:
            return one.differing(_difference(refused))
        if isinstance(one, Queue):
            for exchange, key in one.bound:
                await channel.queue_bind(one.name, exchange, key)
    await channel.close()
    return None


async def compare(connection: Connected, topology: Topology, *, shared: bool) -> list[Change]:
    """Tell what the broker lacks for a topology, and what differs there; changes nothing.

    The inbox is left out: it is there as long as its process. So are places of queries, which must not differ, though.
    """
    asked = needed(topology._replace(inbox=None), shared=shared)
    found = [await _compared(connection, one) for one in asked]
    return [change for change in found if change is not None]


async def _compared(connection: Connected, one: Exchange | Queue) -> Change | None:
    # The broker answers each mistake by closing the channel, so each question has one of its own.
    channel = await connection.open_channel(confirms=False)
    try:
        await one.declare(channel, only_look=True)
        await one.declare(channel)  # makes nothing: it is there
        await channel.close()
    except ChannelNotFoundEntity:
        return None if isinstance(one, Queue) and one.goes else one.missing()  # it comes and goes with its process
    except ChannelPreconditionFailed as refused:
        return one.differing(_difference(refused))
    return None


def _difference(refused: ChannelPreconditionFailed) -> str:
    """Tell what differs: in the broker's words, but for what somebody who adds or drops `shared=yes` meets."""
    told = str(refused).removeprefix("PRECONDITION_FAILED - ")
    if f"'{ALONE}'" not in told:
        return told
    one, several = "one process at a time", "shared=yes"
    made, wanted = (one, several) if "received none" in told else (several, one)
    return f"made for {made}, not for {wanted}; delete it once it is empty"
