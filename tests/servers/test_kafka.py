"""The Kafka of the tests is a real one: it acknowledges, shares out partitions, and keeps what it acknowledged."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer

from tests.servers.kafka import Kafka
from tests.servers.processes import listening
from tests.servers.proxy import Proxy
from tests.servers.server import ServerMissingError

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

PATIENCE = 45.0


def produce(kafka: Kafka, topic: str, bodies: list[str], **settings: str) -> None:
    """Have every message acknowledged; each with its body as key, and its number in a header."""
    failed: list[KafkaError] = []
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "enable.idempotence": True, **settings})
    for number, body in enumerate(bodies):
        producer.produce(
            topic,
            body,
            key=body,
            headers=[("number", str(number).encode())],
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
    assert producer.flush(PATIENCE) == 0
    assert not failed


@contextmanager
def consuming(kafka: Kafka, topic: str, group: str, protocol: str = "consumer") -> Iterator[Consumer]:
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "group.id": group,
            "group.protocol": protocol,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    try:
        yield consumer
    finally:
        consumer.close()


def take(consumer: Consumer, count: int) -> list[Message]:
    taken: list[Message] = []

    def enough() -> bool:
        taken.extend(consumer.consume(count - len(taken), timeout=0.2))
        return len(taken) == count

    poll_until(enough)
    assert not any(message.error() for message in taken)
    return taken


def poll_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"it did not happen within {PATIENCE:g} s"


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_produced_messages_arrive_with_their_keys_and_headers(kafka, kafka_prefix, protocol):
    topic = f"{kafka_prefix}letters"
    kafka.create_topics(topic)
    produce(kafka, topic, ["a", "b", "c"])

    with consuming(kafka, topic, f"{kafka_prefix}readers", protocol) as consumer:
        taken = take(consumer, 3)

    assert [message.value() for message in taken] == [b"a", b"b", b"c"]
    assert [message.key() for message in taken] == [b"a", b"b", b"c"]
    assert [message.headers() for message in taken] == [[("number", b"0")], [("number", b"1")], [("number", b"2")]]


def test_members_of_a_group_share_partitions_and_take_over_from_one_another(kafka, kafka_prefix):
    topic, group = f"{kafka_prefix}letters", f"{kafka_prefix}readers"
    kafka.create_topics(topic, partitions=4)

    with consuming(kafka, topic, group) as first:
        with consuming(kafka, topic, group) as second:
            members = (first, second)
            poll_until(
                lambda: (
                    [member.poll(0.1) for member in members] == [None, None]
                    and [len(member.assignment()) for member in members] == [2, 2]
                )
            )
            shared = [part.partition for member in members for part in member.assignment()]

            assert sorted(shared) == [0, 1, 2, 3]
        poll_until(lambda: first.poll(0.1) is None and len(first.assignment()) == 4)


def test_proxy_stands_between_it_and_its_clients_also_after_they_have_asked_where_it_is(kafka, kafka_prefix):
    topic = f"{kafka_prefix}letters"
    kafka.create_topics(topic)
    with Proxy(kafka.proxied_port, port=kafka.proxy_port) as proxy:
        way = {"bootstrap.servers": kafka.proxied_url.removeprefix("kafka://"), "message.timeout.ms": "3000"}
        produce(kafka, topic, ["through"], **way)
        assert proxy.counts.connections > 0

        proxy.refuse()
        with pytest.raises(AssertionError, match="_MSG_TIMED_OUT"):
            produce(kafka, topic, ["around"], **way, log_level="0")

    with consuming(kafka, topic, f"{kafka_prefix}readers") as consumer:
        assert [message.value() for message in take(consumer, 1)] == [b"through"]


def test_committed_offsets_and_acknowledged_messages_survive_sigkill(kafka, kafka_prefix):
    topic, group = f"{kafka_prefix}letters", f"{kafka_prefix}readers"
    kafka.create_topics(topic)
    bodies = [str(number) for number in range(200)]
    produce(kafka, topic, bodies)
    with consuming(kafka, topic, group) as consumer:
        take(consumer, 50)
        consumer.commit(asynchronous=False)
    ended_in_order = kafka.folder / "data" / ".kafka_cleanshutdown"

    kafka.kill()

    assert not ended_in_order.exists()
    kafka.start()
    with consuming(kafka, topic, group) as consumer:
        rest = [message.value() for message in take(consumer, 150)]
    assert rest == [body.encode() for body in bodies[50:]]


def test_stop_ends_in_order(kafka):
    kafka.stop()

    assert (kafka.folder / "data" / ".kafka_cleanshutdown").exists()
    kafka.start()


def test_topic_that_nobody_made_is_refused(kafka, kafka_prefix):
    producer = Producer({"bootstrap.servers": kafka.bootstrap})

    answer = producer.list_topics(f"{kafka_prefix}nowhere", timeout=30).topics[f"{kafka_prefix}nowhere"]

    assert answer.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_topics_and_groups_of_a_prefix_are_deleted(kafka, kafka_prefix):
    mine, other = f"{kafka_prefix}mine.", f"{kafka_prefix}other."
    kafka.create_topics(f"{mine}letters", f"{other}letters")
    produce(kafka, f"{mine}letters", ["a"])
    with consuming(kafka, f"{mine}letters", f"{mine}readers") as consumer:
        take(consumer, 1)

    kafka.delete(mine)

    poll_until(lambda: kafka.topics(kafka_prefix) == [f"{other}letters"])
    assert f"{mine}readers" not in kafka.groups()


def test_only_loopback_reaches_it(kafka):
    addresses = listening(kafka.pids)

    assert len(addresses) == 4
    assert ("127.0.0.1", kafka.port) in addresses
    assert {address for address, _ in addresses} == {"127.0.0.1"}


def test_missing_java_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ServerMissingError, match="apt-get install default-jre-headless"):
        Kafka()


def test_missing_jars_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("MICROLITH_KAFKA_JARS", str(tmp_path))

    with pytest.raises(ServerMissingError, match=r"mvn -q -f tests/servers/pom\.xml dependency:copy-dependencies"):
        Kafka()
