from collections import Counter

import pytest

from microlith.transports import Inbox, Subscribing, Topic
from microlith.transports.kafka.names import (
    group_name,
    inbox_partition,
    inbox_topic,
    refused_topic,
    topic_name,
)


def test_names_begin_with_the_application():
    topics = [Topic("command", "stock"), Topic("event", "stock"), Topic("query", "stock")]

    names = [*(topic_name("shop", topic) for topic in topics), inbox_topic("shop"), refused_topic("shop")]

    assert names == ["shop.commands.stock", "shop.events.stock", "shop.queries.stock", "shop.inbox", "shop.refused"]


def test_groups_of_two_topics_are_two_groups():
    groups = [Subscribing(Topic("event", "stock"), "orders"), Subscribing(Topic("event", "till"), "orders")]

    assert [group_name("shop", group) for group in groups] == ["shop.events.stock.orders", "shop.events.till.orders"]


# Of Kafka's own client in Java: org.apache.kafka.common.utils.UtilsTest.testMurmur2, made positive, modulo 1000.
@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_inbox_lies_where_the_client_in_java_would_put_what_has_its_name_as_key(key, hashed):
    assert inbox_partition(Inbox(key), 1000) == (hashed & 0x7FFFFFFF) % 1000


def test_inboxes_spread_over_the_partitions():
    spread = Counter(inbox_partition(Inbox(f"shop-{number}"), 8) for number in range(800))

    assert sorted(spread) == list(range(8))
    assert max(spread.values()) < 200
