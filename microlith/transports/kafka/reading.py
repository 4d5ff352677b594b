"""A reader: one thread with one consumer, which reads as much as there is room for and hands it to the loop.

The thread never stops asking librdkafka for news: where there is no room for long, partitions are paused. Whatever
fails for good ends the consumer, and after a pause there is a new one.

What is read, and what is told to the broker, is up to `GroupReader` and `InboxReader`.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from logging import getLogger

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from microlith.transports.kafka.codes import FATAL
from microlith.transports.kafka.health import ClientLog, Health
from microlith.transports.kafka.intake import Arriving, Intake, Record
from microlith.transports.protocol import Parcel

_LOG = getLogger(__name__)
_POLL_SECONDS = 0.1
_ROOM_SECONDS = 0.01
_LOOK_SECONDS = 0.05
"""How often it is looked at whether a partition is to be held."""
_PATIENCE_SECONDS = 1.0
"""How long the thread waits for room before it pauses partitions: to pause costs what was fetched ahead."""
_MOST_AT_ONCE = 200
"""Records handed over together at most, so that the loop is not kept from others for long."""
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
ASLEEP_SECONDS = 10.0
"""A turn takes a tenth of a second. If one took this long, the process was stopped, and others may have its partitions."""
STOP_SECONDS = 5.0
"""How long a reader may take to end; longer only when the broker goes away in the middle of a commit."""

_SETTINGS: Mapping[str, str | int | bool] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",
    "fetch.wait.max.ms": 200,
    "queued.min.messages": 2_000,
    "fetch.queue.backoff.ms": 20,
    "queued.max.messages.kbytes": 8 * 1024,
    # What is fetched at one go is read before another partition's: small enough that none waits for long.
    "max.partition.fetch.bytes": 256 * 1024,
}


# Where there is one that goes on while the machine sleeps, too.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SleptError(Exception):
    """The process was stopped, and what it read since may be somebody else's."""


class Reader:
    """Reads from one topic. Belongs to one loop.

    Attributes:
        health: Whether the brokers are there.
        topic: From where.
        intake: What was read.
        ended: Resolves when the thread has ended, if it was ever started.
    """

    def __init__(
        self,
        connection: Mapping[str, str | int | bool],
        health: Health,
        topic: str,
        limit: int,
        read: Callable[[Message], Parcel | None],
        put_aside: Callable[[Arriving, str], None],
        *,
        settles: bool,
    ) -> None:
        self.health = health
        self.topic = topic
        self.intake = Intake(limit, read, put_aside, settles=settles)
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name=f"microlith-kafka-{topic}", daemon=True)
        self._stop = threading.Event()
        self._leaving = False
        self.ended = self._loop.create_future()
        # What follows belongs to the thread.
        self._awake = 0.0
        self._next_look = 0.0
        self._full_since: float | None = None
        self._paused: frozenset[int] = frozenset()
        self._spare: list[Message] = []

    def start(self) -> None:
        """Start to read; what comes is found in the intake."""
        if not self.stopping:
            self._thread.start()

    def leave(self) -> None:
        """Hand out nothing more, but keep what was handed out until it is settled; then it ends by itself."""
        self.intake.close()
        self._leaving = True

    async def stop(self) -> None:
        """Hand out nothing more, tell the broker what was settled, and end the thread. Safe to call twice."""
        self.intake.close()
        self._stop.set()
        if not self._thread.ident:
            return
        ended, _ = await asyncio.wait([self.ended], timeout=STOP_SECONDS)
        if ended:
            self._thread.join()
        else:
            _LOG.warning(
                "The broker went away while it was told what is settled of %s; it is not waited for.", self.topic
            )

    # What kinds of readers do differently, on the thread.

    def settings(self) -> Mapping[str, object]:
        """Tell what the consumer is told, beside what all are told."""
        raise NotImplementedError

    def begin(self, consumer: Consumer) -> None:
        """Say what is to be read."""
        raise NotImplementedError

    def records(self, messages: Sequence[Message]) -> list[Record]:
        """Tell which of the messages that were read are ours, and of which claims."""
        raise NotImplementedError

    def tick(self, consumer: Consumer, now: float) -> None:
        """Do what is due, by a clock of its own. Called several times a second."""

    def held(self) -> frozenset[int]:
        """Tell which partitions are not to be read for now."""
        return frozenset()

    def assigned(self) -> frozenset[int]:
        """Tell which partitions are read."""
        raise NotImplementedError

    def has_out(self) -> bool:
        """Tell whether something that was handed out is not settled."""
        return False

    def end(self, consumer: Consumer) -> None:
        """Let go of the consumer."""
        consumer.close()

    def stay_awake(self) -> None:
        """Note that this took long for a good reason."""
        self._awake = time.clock_gettime(_CLOCK)

    def failed(self, error: KafkaException | SleptError) -> None:
        """Take the reason why there will be another consumer."""
        _LOG.warning("%s is read anew: %s", self.topic, error)

    @property
    def stopping(self) -> bool:
        """Whether this is the end."""
        return self._stop.is_set()

    # On the thread.

    @property
    def _over(self) -> bool:
        return self._stop.is_set() or (self._leaving and not self.has_out())

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        try:
            while not self._over:
                began = time.monotonic()
                try:
                    self._read()
                except (KafkaException, SleptError) as error:
                    self.failed(error)
                except Exception:  # noqa: BLE001 (told, and begun anew: else nobody would read any more)
                    _LOG.exception("%s is read anew", self.topic)
                pause = _FIRST_PAUSE if time.monotonic() - began > _LONGEST_PAUSE else min(pause * 2, _LONGEST_PAUSE)
                self._stop.wait(pause)
        finally:
            with suppress(RuntimeError):  # the loop is closed: nobody is left who waits
                self._loop.call_soon_threadsafe(self.ended.set_result, None)

    def _read(self) -> None:
        consumer = Consumer(
            {**self._connection, **_SETTINGS, **self.settings(), "error_cb": self.health.note}, logger=ClientLog()
        )
        self._paused, self._full_since, self._spare = frozenset(), None, []
        try:
            self.begin(consumer)
            self.stay_awake()
            while not self._over:
                now = self._be_awake()
                self._turn(consumer, now)
                self.tick(consumer, now)
        finally:
            self.end(consumer)

    def _turn(self, consumer: Consumer, now: float) -> None:
        """Read what there is room for; where there is none, wait for it."""
        if self._leaving:
            self._pause(consumer, self.assigned())
            consumer.poll(_POLL_SECONDS)
            return
        room = self.intake.room
        if room > 0:
            self._full_since = None
            if self._paused or now >= self._next_look:
                self._next_look = now + _LOOK_SECONDS
                self._pause(consumer, self.held())
            self._take(self._some(consumer, room))
            return
        if self._full_since is None:
            self._full_since = now
        if now - self._full_since > _PATIENCE_SECONDS:
            self._pause(consumer, self.assigned())
            if (message := consumer.poll(0)) is not None:
                self._spare.append(message)
        self.intake.wait_for_room(_ROOM_SECONDS)

    def _some(self, consumer: Consumer, room: int) -> list[Message]:
        messages, self._spare = self._spare, []
        if not messages:
            message = consumer.poll(_POLL_SECONDS)
            self._be_awake()
            if message is None:
                return []
            messages.append(message)
        if room > len(messages):
            messages += consumer.consume(min(room - len(messages), _MOST_AT_ONCE), 0)
        return messages

    def _be_awake(self) -> float:
        """Make sure that the process was not stopped meanwhile; return the time."""
        now = time.clock_gettime(_CLOCK)
        asleep = now - self._awake
        if asleep > ASLEEP_SECONDS:
            raise SleptError(f"the process was stopped for {asleep:.0f} s, and others may have its partitions by now")
        self._awake = now
        return now

    def _take(self, messages: Sequence[Message]) -> None:
        read = []
        for message in messages:
            error = message.error()
            if error is None:
                read.append(message)
            elif error.code() == FATAL:
                raise KafkaException(error)
            else:
                self.health.note(error)
        if read and (records := self.records(read)):
            self.intake.put(records)

    def _pause(self, consumer: Consumer, wanted: frozenset[int]) -> None:
        """Have just these partitions paused."""
        if wanted == self._paused:
            return
        assigned = self.assigned()
        if more := (wanted - self._paused) & assigned:
            consumer.pause([TopicPartition(self.topic, number) for number in more])
        if less := (self._paused - wanted) & assigned:
            consumer.resume([TopicPartition(self.topic, number) for number in less])
        self._paused = wanted & assigned
