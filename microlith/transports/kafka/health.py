"""Whether the brokers are there: what the clients of one transport suspect, and what is then found out.

librdkafka makes connections again by itself, and says only that one was lost. So a suspicion is checked by asking for
something, by the thread that has time for it, before anybody is told.
"""

import asyncio
import re
from collections.abc import Callable
from logging import DEBUG, getLogger

from confluent_kafka import KafkaError, KafkaException, Producer

from microlith.transports.kafka.codes import ALL_BROKERS_DOWN, CANNOT_CONNECT

_LOG = getLogger(__name__)
_CHECK_SECONDS = 1.5
_TAIL = re.compile(r" \(after [^()]*\)$")


class ClientLog:
    """Takes librdkafka's own log: of use to who debugs, and else told by errors, or told by `watch`."""

    def log(self, _level: int, message: str, *arguments: object) -> None:
        """Pass a line on."""
        _LOG.log(DEBUG, message, *arguments)


class Health:
    """What is known of the brokers. Any thread may suspect; one checks; watchers are told on the loop.

    Attributes:
        suspected: Whether a client has lost its connection and nobody has found out yet whether that lasts.
        there: Whether the brokers could be reached when last checked.
        reason: Why they could not.
    """

    def __init__(self) -> None:
        self.suspected = False
        self.there = True
        self.reason = "the connection was lost"
        self.watchers: list[Callable[[bool, str], None]] = []

    def note(self, error: KafkaError) -> None:
        """Take an error that a client reports. On any thread."""
        if error.code() != ALL_BROKERS_DOWN:
            self.reason = _TAIL.sub("", error.str())
        if error.code() in CANNOT_CONNECT:
            self.suspected = True

    def check(self, producer: Producer, topic: str, loop: asyncio.AbstractEventLoop) -> None:
        """Find out whether a suspicion is true, and tell if that has changed. On one thread; takes a second or two at most."""
        self.suspected = False
        try:
            producer.list_topics(topic, timeout=_CHECK_SECONDS)
        except KafkaException:
            self.suspected = True
        if self.there is self.suspected:
            self.there = not self.suspected
            loop.call_soon_threadsafe(self._tell, self.there, "" if self.there else self.reason)

    def _tell(self, there: bool, why: str) -> None:
        for changed in self.watchers:
            changed(there, why)
