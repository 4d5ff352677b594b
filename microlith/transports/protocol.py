"""What every transport does, and what it promises.

A transport carries parcels between processes. It knows topics, groups and inboxes; it knows no handlers and no stores.

Delivery is at least once: after a crash, a lost connection or a change of consumers the same parcel may come again.
Order is kept among parcels of one topic and one key, and nowhere else; `subscribe` says where not even there.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol


class Parcel(NamedTuple):
    """One message as it travels, made by `cloud_events`.

    Attributes:
        attributes: Its CloudEvents attributes, by their names in the specification: `datacontenttype` among them, and
            `partitionkey` when there is a key.
        data: Its payload.
        key: What it keeps its order with; "" when nothing.
    """

    attributes: Mapping[str, str]
    data: bytes
    key: str = ""


class Topic(NamedTuple):
    """Where the parcels of one kind for one receiver, or of one component, go, from any number of senders.

    Attributes:
        kind: "command": what the component is to do; each is taken once by its one group. "query": the same, but lost when
            nobody listens. "event": what it tells; each group gets all of them.
        component: Who they are for, or whose they are: of commands the component and its handler, such as "auth.login", or
            the component and its aggregate; of queries and events the component.
    """

    kind: Literal["command", "query", "event"]
    component: str


class Inbox(NamedTuple):
    """Where one process hears what it has caused elsewhere. It goes when the process goes.

    Attributes:
        name: Unique to the process: letters, digits and dashes.
    """

    name: str


Address = Topic | Inbox
"""Where a parcel is sent."""


class Subscribing(NamedTuple):
    """That a group takes parcels from a topic.

    Attributes:
        topic: From where.
        group: Its name; that of the component where the topic is one of commands or queries. Processes of one group
            share its parcels: each goes to one of them.
        types: The CloudEvents types it takes; None for all. Others count as settled.
    """

    topic: Topic
    group: str
    types: frozenset[str] | None = None


class Topology(NamedTuple):
    """What one process needs to be there at a broker.

    Attributes:
        app: The application, which everything at the broker is named after.
        sends: The topics that it sends to. A command is kept for its group even if that has never been there.
        takes: What it takes.
        inbox: Where it hears; None when it hears nothing over this transport.
    """

    app: str
    sends: tuple[Topic, ...] = ()
    takes: tuple[Subscribing, ...] = ()
    inbox: Inbox | None = None


class Change(NamedTuple):
    """One thing that the broker lacks for a topology, or that differs there.

    Attributes:
        action: "create" or "differs".
        what: Such as "queue", "exchange", "topic", "binding".
        name: Its name at the broker.
        detail: With which settings; for "differs": what is there and what is needed.
    """

    action: Literal["create", "differs"]
    what: str
    name: str
    detail: str = ""


class Arrival(Protocol):
    """A parcel that has come and is not settled yet."""

    @property
    def parcel(self) -> Parcel:
        """What has come."""
        ...

    @property
    def again(self) -> bool:
        """Whether it may have come before. Never False for one that was handed out before and not settled."""
        ...

    def settle(self) -> None:
        """Note that it is done with. The broker is told soon; if that fails, the parcel comes again.

        Never raises, also when the connection that it came over is gone. Safe to call twice, and after the iteration
        that it came from has been left.
        """
        ...

    def refuse(self, reason: str) -> None:
        """Put it aside at the broker, where people find it with the reason, and settle it: nobody here can read it."""
        ...


class Transport(Protocol):
    """A connection to a broker. Belongs to the event loop that opened it.

    Opened once. When the connection is lost afterwards it is made again by the transport itself, with pauses that grow
    to some seconds, for as long as it takes; `watch` tells of both.
    """

    @property
    def broker(self) -> str:
        """What it speaks to, such as "rabbitmq://127.0.0.1:5672/"; without a password."""
        ...

    @property
    def largest(self) -> int:
        """How many bytes of data one parcel may have at most."""
        ...

    async def plan(self, topology: Topology) -> list[Change]:
        """Tell what the broker lacks for a topology, and what differs; changes nothing. May be called before `open`.

        Raises:
            TransportUnavailableError: It cannot be reached.
        """
        ...

    async def open(self, topology: Topology) -> None:
        """Connect, and create what the broker lacks for the topology.

        Raises:
            TransportUnavailableError: It cannot be reached. Whoever starts decides whether to call it again.
            TopologyDriftError: Something there differs from what is needed; nothing was changed.
        """
        ...

    async def publish(self, parcels: Sequence[tuple[Address, Parcel]]) -> None:
        """Send parcels in order; return when the broker has taken all of them, as safely as it keeps anything.

        Several calls may be under way at a time; there is no order between them. An inbox that is gone, and a query
        topic where nobody listens, swallow what is sent to them.

        Raises:
            TransportUnavailableError: The connection was lost, or is closed. Any of them may have been taken; the caller
                sends all of them again, in the same order and with the same ids, perhaps at once: it then waits for the
                connection.
            ParcelRefusedError: The broker will never take one of them. Those before it were taken; those behind it may
                have been.
            TopologyDriftError: What a command is to wait in is gone, and could not be made again; none may have been taken.
        """
        ...

    def subscribe(self, wanted: Subscribing, *, prefetch: int) -> AsyncIterator[Arrival]:
        """Yield what comes, until the transport is closed; a lost connection does not end it.

        A group that is new begins with what is sent from now on, but for commands: those that were kept for it come first.
        At most `prefetch` arrivals are unsettled at a time. What has not been settled when the process ends comes again, to
        another one of the group or to the next, before what was sent behind it with the same key. So does what is out when
        the connection is lost, unless the broker holds it for its process: then it can be settled once that is back.
        While one of the group has a parcel unsettled, no other gets one with the same key; queries are handed out
        regardless of their keys. So are commands of a RabbitMQ with `shared=yes`, in no order among those that take: there the
        application keeps to one handling at a time, by claims that its processes take in the store they share.
        Whoever leaves the iteration keeps what was handed out until `close`.
        """
        ...

    def listen(self, inbox: Inbox) -> AsyncIterator[Arrival]:
        """Yield what comes to an inbox of this topology, until the transport is closed. Nothing need be settled."""
        ...

    def watch(self, changed: Callable[[bool, str], None]) -> None:
        """Have a function called, on the loop, when the connection is lost (False, why) and when it is back (True, "")."""
        ...

    async def close(self) -> None:
        """Tell the broker what was settled, and let go of everything. Safe to call twice."""
        ...


def wants(wanted: Subscribing, parcel: Parcel) -> bool:
    """Tell whether a group takes a parcel, by its type."""
    return wanted.types is None or parcel.attributes.get("type") in wanted.types
