"""What everything is called at the broker.

    {app}.commands.{component}    {app}.events.{component}    {app}.queries.{component}
    {app}.inbox                   one topic for the inboxes of all processes
    {app}.refused                 what nobody could read, with the reasons

A group is called by its topic and its name, so that each topic has groups of its own.
"""

from confluent_kafka import murmur2

from microlith.transports.protocol import Inbox, Subscribing, Topic

_PLURALS = {"command": "commands", "event": "events", "query": "queries"}


def topic_name(app: str, topic: Topic) -> str:
    """Return the name of a topic."""
    return f"{app}.{_PLURALS[topic.kind]}.{topic.component}"


def inbox_topic(app: str) -> str:
    """Return the name of the topic that holds all inboxes."""
    return f"{app}.inbox"


def refused_topic(app: str) -> str:
    """Return the name of the topic where refused parcels lie."""
    return f"{app}.refused"


def group_name(app: str, wanted: Subscribing) -> str:
    """Return the name of a consumer group."""
    return f"{topic_name(app, wanted.topic)}.{wanted.group}"


def inbox_partition(inbox: Inbox, partitions: int) -> int:
    """Return the partition that holds an inbox: where every Kafka client puts what has the inbox's name as key."""
    return murmur2(inbox.name.encode(), partitions)
