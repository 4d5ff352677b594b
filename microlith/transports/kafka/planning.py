"""What a topology needs at the broker, what is there, and the difference made good: topics, and where groups begin.

Never changes or deletes what is there.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from confluent_kafka import TopicPartition
from confluent_kafka.admin import ConfigEntry, NewTopic, TopicMetadata

from microlith.plurals import plural
from microlith.transports.errors import TopologyDriftError
from microlith.transports.kafka.asking import Broker
from microlith.transports.kafka.binding import LARGEST_RECORD
from microlith.transports.kafka.marks import UNTOUCHED
from microlith.transports.kafka.names import group_name, inbox_partition, inbox_topic, refused_topic, topic_name
from microlith.transports.kafka.settings import PARTITIONS, Settings
from microlith.transports.protocol import Change, Subscribing, Topology

_SHORT = str(10 * 60 * 1000)
_LONG = str(30 * 24 * 60 * 60 * 1000)
_SIZE = {"max.message.bytes": str(LARGEST_RECORD + 64 * 1024), "cleanup.policy": "delete"}
_PASSING = {**_SIZE, "retention.ms": _SHORT, "segment.ms": _SHORT}
_KEPT = {**_SIZE, "retention.ms": _LONG}

Topics = Mapping[str, TopicMetadata]


class Needed(NamedTuple):
    """A topic that has to be there.

    Attributes:
        name: What it is called.
        partitions: How many it is made with.
        at_least: How many it must have; None where any number will do.
        config: Its settings.
    """

    name: str
    partitions: int
    at_least: int | None
    config: Mapping[str, str]


def plan(settings: Settings, topology: Topology) -> list[Change]:
    """Tell what is missing, and what differs. Waits for the broker.

    Raises:
        TransportUnavailableError: It cannot be reached.
    """
    broker = Broker(settings)
    topics = broker.topics()
    wanted = needed(topology, settings)
    return [
        *(_creation(one, settings) for one in wanted if one.name not in topics),
        *_new_groups(broker, topology, topics),
        *_differences(broker, settings, wanted, topics),
    ]


def prepare(settings: Settings, topology: Topology) -> TopicPartition | None:
    """Create what is missing, and have new groups begin now; return where the inbox begins. Waits for the broker.

    Raises:
        TransportUnavailableError: It cannot be reached.
        TopologyDriftError: Something differs; nothing was created.
    """
    broker = Broker(settings)
    topics = broker.topics()
    wanted = needed(topology, settings)
    if differences := _differences(broker, settings, wanted, topics):
        raise TopologyDriftError(settings.broker, [f"topic {one.name}: {one.detail}" for one in differences])
    if missing := [one for one in wanted if one.name not in topics]:
        copies = -1 if settings.replication is None else settings.replication
        broker.create(NewTopic(one.name, one.partitions, copies, config=dict(one.config)) for one in missing)
        topics = broker.topics()
    for one in topology.takes:
        _begin(broker, topology.app, one, topics)
    if topology.inbox is None:
        return None
    name = inbox_topic(topology.app)
    number = inbox_partition(topology.inbox, len(topics[name].partitions))
    return TopicPartition(name, number, broker.ends([TopicPartition(name, number)])[number])


def needed(topology: Topology, settings: Settings) -> list[Needed]:
    """Tell which topics a topology needs."""
    app, partitions = topology.app, settings.partitions or PARTITIONS
    topics = dict.fromkeys((*topology.sends, *(wanted.topic for wanted in topology.takes)))
    return [
        *(
            Needed(
                topic_name(app, topic), partitions, settings.partitions, _PASSING if topic.kind == "query" else _SIZE
            )
            for topic in topics
        ),
        Needed(inbox_topic(app), settings.inbox_partitions or PARTITIONS, settings.inbox_partitions, _PASSING),
        Needed(refused_topic(app), 1, None, _KEPT),
    ]


def _creation(one: Needed, settings: Settings) -> Change:
    copies = "" if settings.replication is None else f", replication {settings.replication}"
    config = ", ".join(f"{name}={value}" for name, value in one.config.items())
    return Change("create", "topic", one.name, f"partitions {one.partitions}{copies}, {config}")


def _new_groups(broker: Broker, topology: Topology, topics: Topics) -> Iterable[Change]:
    for wanted in topology.takes:
        topic, group = topic_name(topology.app, wanted.topic), group_name(topology.app, wanted)
        if wanted.topic.kind == "command":
            continue  # made by whoever joins first: there is nowhere it would have to begin
        if topic not in topics or min(broker.committed(group, _partitions(topic, topics)).values()) < 0:
            yield Change("create", "group", group, f"begins at the end of {topic}")


def _partitions(topic: str, topics: Topics) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in topics[topic].partitions]


def _differences(broker: Broker, settings: Settings, wanted: list[Needed], topics: Topics) -> list[Change]:
    there = [one for one in wanted if one.name in topics]
    configs = broker.configs(one.name for one in there)
    return [
        Change("differs", "topic", one.name, difference)
        for one in there
        for difference in _compare(one, settings.replication, topics[one.name], configs.get(one.name, {}))
    ]


def _compare(
    one: Needed, replication: int | None, found: TopicMetadata, config: Mapping[str, ConfigEntry]
) -> Iterable[str]:
    partitions = len(found.partitions)
    if one.at_least is not None and partitions < one.at_least:
        yield f"it has {plural(partitions, 'partition')}, at least {one.at_least} are needed"
    copies = min((len(partition.replicas) for partition in found.partitions.values()), default=0)
    if replication is not None and copies < replication:
        yield f"it has {copies} {'copy' if copies == 1 else 'copies'}, {replication} are needed"
    policy, largest = config.get("cleanup.policy"), config.get("max.message.bytes")
    if policy is not None and policy.value != "delete":
        yield f"its cleanup.policy is {policy.value}, and delete is needed: else what shares a key is dropped"
    if largest is not None and int(largest.value or 0) < LARGEST_RECORD:
        yield f"its max.message.bytes is {largest.value}, at least {LARGEST_RECORD} is needed"


def _begin(broker: Broker, app: str, wanted: Subscribing, topics: Topics) -> None:
    """Have a new group begin with what is sent from now on; a group of queries too, if nobody is there."""
    if wanted.topic.kind == "command":
        return
    topic, group = topic_name(app, wanted.topic), group_name(app, wanted)
    partitions = _partitions(topic, topics)
    # The ends first: whoever else makes this group now, and is ready before, has not missed anything before them.
    ends = broker.ends(partitions)
    if wanted.topic.kind == "event":
        committed = broker.committed(group, partitions)
        ends = {number: end for number, end in ends.items() if committed[number] < 0}
    elif broker.has_members(group):
        return
    if ends:
        broker.commit(group, [TopicPartition(topic, number, end, UNTOUCHED) for number, end in ends.items()])
