"""Questions to the broker, and changes: the admin client, and how long it is waited for.

Everything here waits and belongs on a thread of its own, see `aside`.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
    TopicMetadata,
)

from microlith.transports.errors import TransportUnavailableError
from microlith.transports.kafka.codes import NOT_READY, SILENT
from microlith.transports.kafka.health import ClientLog, Health
from microlith.transports.kafka.settings import Settings

T = TypeVar("T")

_REACH_SECONDS = 5.0
_REFUSED_SECONDS = 1.0
"""How long a broker that refuses connections is tried: one that is just starting is soon there."""
_ANSWER_SECONDS = 10.0
_READY_SECONDS = 30.0
"""How long a broker is given that is there and not ready: a topic that was just made, a group that is being loaded.

A broker that is asked about a group for the first time makes a topic for all groups first, and may be silent for so long.
"""
_PAUSE = 0.05


async def aside(work: Callable[[], T]) -> T:
    """Do something that waits on a thread of its own."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 (raised where it is awaited)
            done.set_exception(error)

    threading.Thread(target=run, name="microlith-kafka-asking", daemon=True).start()
    # Not cancelled with whoever waits: the thread ends by itself, within the time its questions have.
    return await asyncio.shield(asyncio.wrap_future(done))


class Broker:
    """The brokers, as far as they can be asked. Made, used and dropped on one thread.

    Every method raises TransportUnavailableError when they cannot be reached, or answer with an error.
    """

    def __init__(self, settings: Settings) -> None:
        self._name = settings.broker
        self._health = Health()
        told: dict[str, Any] = {**settings.connection, "error_cb": self._health.note}
        try:
            self._admin = AdminClient(told, logger=ClientLog())
        except KafkaException as error:  # such as a file for TLS that is not there
            raise self._unavailable(error) from error

    def topics(self) -> dict[str, TopicMetadata]:
        """Return which topics there are."""
        began = time.monotonic()
        while True:
            try:
                return dict(self._admin.list_topics(timeout=0.5).topics)
            except KafkaException as error:
                self._admin.poll(0)  # has it tell what went wrong
                waited = time.monotonic() - began
                if waited > _REACH_SECONDS or (self._health.suspected and waited > _REFUSED_SECONDS):
                    raise self._unavailable(error) from error

    def configs(self, names: Iterable[str]) -> dict[str, Mapping[str, ConfigEntry]]:
        """Return the settings of topics; without those that may not be asked for."""
        asked = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        if not asked:
            return {}
        configs = {}
        for resource, answer in self._admin.describe_configs(asked, request_timeout=_ANSWER_SECONDS).items():
            found = self._answer(answer, but={KafkaError.TOPIC_AUTHORIZATION_FAILED})
            if found is not None:
                configs[resource.name] = found
        return configs

    def create(self, made: Iterable[NewTopic]) -> None:
        """Create topics, and wait until they can be written to."""
        wanted = {topic.topic: topic for topic in made}
        if not wanted:
            return
        answers = self._admin.create_topics(list(wanted.values()), request_timeout=_ANSWER_SECONDS)
        for answer in answers.values():
            self._answer(answer, but={KafkaError.TOPIC_ALREADY_EXISTS})  # another process was quicker
        deadline = time.monotonic() + _READY_SECONDS
        while missing := wanted.keys() - {name for name, topic in self.topics().items() if _ready(topic)}:
            if time.monotonic() > deadline:
                raise TransportUnavailableError(self._name, f"{min(missing)} was made and has no leader")
            time.sleep(_PAUSE)

    def ends(self, partitions: Iterable[TopicPartition]) -> dict[int, int]:
        """Return where partitions of one topic end."""
        asked = {partition: OffsetSpec.latest() for partition in partitions}

        def ask() -> dict[int, int]:
            answers = self._admin.list_offsets(asked, request_timeout=_ANSWER_SECONDS)
            return {partition.partition: answer.result().offset for partition, answer in answers.items()}

        return self._patiently(ask)

    def committed(self, group: str, partitions: list[TopicPartition]) -> dict[int, int]:
        """Return what a group has committed, below 0 for nothing."""

        def ask() -> dict[int, int]:
            asked = [ConsumerGroupTopicPartitions(group, partitions)]
            answers = self._admin.list_consumer_group_offsets(asked, request_timeout=_ANSWER_SECONDS)
            return {one.partition: one.offset for one in _without_errors(answers[group].result().topic_partitions)}

        return self._patiently(ask)

    def commit(self, group: str, offsets: list[TopicPartition]) -> None:
        """Commit for a group, unless it has members: they know better."""

        def ask() -> None:
            asked = [ConsumerGroupTopicPartitions(group, offsets)]
            answers = self._admin.alter_consumer_group_offsets(asked, request_timeout=_ANSWER_SECONDS)
            for one in answers[group].result().topic_partitions:
                if one.error is not None and one.error.code() != KafkaError.UNKNOWN_MEMBER_ID:
                    raise KafkaException(one.error)

        self._patiently(ask)

    def has_members(self, group: str) -> bool:
        """Tell whether anybody is in a group."""

        def ask() -> bool:
            answers = self._admin.describe_consumer_groups([group], request_timeout=_ANSWER_SECONDS)
            try:
                return answers[group].result().state not in {ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD}
            except KafkaException as error:
                if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                    return False
                raise

        return self._patiently(ask)

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask, and ask again while the broker is not ready to answer."""
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                return ask()
            except KafkaException as error:
                silent = error.args[0].code() in SILENT and not self._health.suspected
                if not (silent or error.args[0].code() in NOT_READY) or time.monotonic() > deadline:
                    raise self._unavailable(error) from error
            time.sleep(_PAUSE)
            self.topics()  # also tells the client what has changed

    def _answer(self, answer: "Future[T]", *, but: set[int]) -> T | None:
        try:
            return answer.result()
        except KafkaException as error:
            if error.args[0].code() in but:
                return None
            raise self._unavailable(error) from error

    def _unavailable(self, error: KafkaException) -> TransportUnavailableError:
        found = error.args[0]
        if self._health.suspected:
            return TransportUnavailableError(self._name, self._health.reason)
        return TransportUnavailableError(self._name, "it does not answer" if found.code() in SILENT else found.str())


def _ready(topic: TopicMetadata) -> bool:
    return bool(topic.partitions) and all(partition.leader >= 0 for partition in topic.partitions.values())


def _without_errors(partitions: Iterable[TopicPartition]) -> Iterable[TopicPartition]:
    for one in partitions:
        if one.error is not None:
            raise KafkaException(one.error)
        yield one
