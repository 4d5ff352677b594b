"""The producer: one thread that hears from librdkafka, and callers on the loop that wait for it.

Idempotent, and without gaps: a record is never taken before another one of its partition that was handed over earlier.
So when one fails for good, all behind it fail too, the producer is made anew, and the callers send all of them again.
While the broker is away nothing fails: librdkafka sends again for as long as it takes.

Knows records, not parcels.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from logging import getLogger
from typing import Literal, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from microlith.transports.kafka.binding import LARGEST_RECORD, Record
from microlith.transports.kafka.codes import REFUSALS
from microlith.transports.kafka.health import ClientLog, Health

_LOG = getLogger(__name__)
_POLL_SECONDS = 0.1
_PURGE_SECONDS = 5.0
_CAREFUL_SECONDS = 60.0
_FAILURE_PAUSE = 0.2
"""How long a failure that is not the connection's is held back, for callers that send again at once."""

_SETTINGS: Mapping[str, str | int | bool] = {
    "enable.idempotence": True,
    "enable.gapless.guarantee": True,
    "acks": "all",
    "partitioner": "murmur2_random",  # what clients in Java do, so that a key has one partition, whoever sends
    "sticky.partitioning.linger.ms": 0,  # a burst without keys is for all who share it, not for one of them
    "message.timeout.ms": 0,  # never: whoever waits is told by `watch`, and may stop waiting
    "request.timeout.ms": 3000,
    "linger.ms": 1,
    "message.max.bytes": LARGEST_RECORD,
    "queue.buffering.max.messages": 20_000,
    "queue.buffering.max.kbytes": 64 * 1024,
}


class Failure(NamedTuple):
    """What became of a record that was not taken.

    Attributes:
        place: Which one, of those handed over together, counted from 0.
        outcome: "lost": it may have been taken; "refused": it never will be.
        reason: Why, in words.
    """

    place: int
    outcome: Literal["lost", "refused"]
    reason: str


_FULL = Failure(0, "lost", "there is no room")


class _Batch:
    """Records handed over together, and who waits for them. Lives on the loop."""

    __slots__ = ("done", "failure", "left")

    def __init__(self, left: int, done: asyncio.Future[Failure | None]) -> None:
        self.left = left
        self.done = done
        self.failure: Failure | None = None

    def note(self, failure: Failure | None, records: int = 1) -> None:
        """Note what became of a record, or of several at the end."""
        if failure is not None and (self.failure is None or failure.place < self.failure.place):
            self.failure = failure
        self.left -= records
        if not self.left and not self.done.done():
            self.done.set_result(self.failure)


class Sender:
    """Sends records, and says what became of them. Belongs to one loop."""

    def __init__(self, connection: Mapping[str, str | int | bool], health: Health, known_topic: str) -> None:
        self._connection = connection
        self._health = health
        self._known_topic = known_topic
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="microlith-kafka-sender", daemon=True)
        self._stopping = False
        self._ended = self._loop.create_future()
        self._producer: Producer | None = None
        self._renewed = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        # What follows belongs to the thread.
        self._reports: list[tuple[_Batch, Failure | None]] = []
        self._careful = False
        self._careful_until = 0.0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def stop(self) -> None:
        """Give up what is under way, and end the thread."""
        self._stopping = True
        self._renewed.set()
        await self._ended
        self._thread.join()

    async def send(self, records: Sequence[Record]) -> Failure | None:
        """Send records in order; return when all were taken, or with what became of the first that was not."""
        producer = self._producer
        while producer is None:
            if self._stopping:
                return Failure(0, "lost", "the transport was closed")
            self._renewed.clear()
            await self._renewed.wait()
            producer = self._producer
        if self._careful and len(records) > 1:
            return await self._send_one_by_one(records)
        batch = _Batch(len(records), self._loop.create_future())
        for place, record in enumerate(records):
            while (failure := self._hand_over(producer, record, batch, place)) is _FULL:
                room = self._loop.create_future()
                self._waiting.append(room)
                await room
            if failure is not None:
                batch.note(failure, len(records) - place)
                break
        failure = await batch.done
        if failure is not None and failure.outcome == "lost" and not self._stopping:
            await asyncio.sleep(_FAILURE_PAUSE)
        return failure

    async def _send_one_by_one(self, records: Sequence[Record]) -> Failure | None:
        for place, record in enumerate(records):
            failure = await self.send([record])
            if failure is not None:
                return failure._replace(place=place)
        return None

    def _hand_over(self, producer: Producer, record: Record, batch: _Batch, place: int) -> Failure | None:
        # What was handed over before it is lost with the producer; then this one must not overtake it.
        if producer is not self._producer or batch.failure is not None:
            return Failure(place, "lost", "the producer was made anew")
        topic, key, value, headers = record
        try:
            producer.produce(topic, value, key, headers=headers, on_delivery=partial(self._note, batch, place))
        except BufferError:
            return _FULL
        except KafkaException as error:
            return _judge(place, error.args[0], alone=True)
        return None

    def _settle(self, reports: Sequence[tuple[_Batch, Failure | None]]) -> None:
        for batch, failure in reports:
            if failure is None and batch.left > 1:
                batch.left -= 1
            else:
                batch.note(failure)
        waiting, self._waiting = self._waiting, []
        for room in waiting:
            if not room.done():
                room.set_result(None)

    def _use(self, producer: Producer | None) -> None:
        self._producer = producer
        if producer is not None:
            self._renewed.set()
        self._settle(())

    # On the thread.

    def _run(self) -> None:
        try:
            while not self._stopping:
                try:
                    self._serve()
                except Exception:  # noqa: BLE001 (told, and begun anew: else whoever sends would wait for ever)
                    _LOG.exception("The producer is made anew")
                    time.sleep(_FAILURE_PAUSE)
        finally:
            self._call(self._ended.set_result, None)

    def _serve(self) -> None:
        """Make a producer, and hear from it until it fails for good, or until the end."""
        careful = self._careful = time.monotonic() < self._careful_until
        producer = Producer(
            {
                **self._connection,
                **_SETTINGS,
                **({"batch.num.messages": 1} if careful else {}),
                "error_cb": self._health.note,
            },
            logger=ClientLog(),
        )
        self._call(self._use, producer)
        try:
            while not self._stopping and not (careful and self._was_careful_enough(producer)):
                producer.poll(_POLL_SECONDS)
                self._report()
                if self._health.suspected:
                    self._health.check(producer, self._known_topic, self._loop)
        except KafkaException as error:
            _LOG.warning("The producer is made anew, and what was under way is sent again: %s", error)
        finally:
            self._call(self._use, None)
            self._bury(producer)

    def _was_careful_enough(self, producer: Producer) -> bool:
        return time.monotonic() > self._careful_until and not len(producer)

    def _bury(self, producer: Producer) -> None:
        """Give up what a producer has not delivered, and let go of it."""
        producer.purge()
        deadline = time.monotonic() + _PURGE_SECONDS
        while len(producer) and time.monotonic() < deadline:
            with suppress(KafkaException):
                producer.poll(_POLL_SECONDS)
        self._report()
        producer.close()

    def _note(self, batch: _Batch, index: int, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self._reports.append((batch, None))
            return
        # Records of one request share its fate. Alone, each shows whether it was the one.
        alone = self._careful
        if error.code() in REFUSALS:
            self._careful_until = time.monotonic() + _CAREFUL_SECONDS
        self._reports.append((batch, _judge(index, error, alone=alone)))

    def _report(self) -> None:
        if self._reports:
            reports, self._reports = self._reports, []
            self._call(self._settle, reports)

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left who waits
            self._loop.call_soon_threadsafe(function, *arguments)


def _judge(index: int, error: KafkaError, *, alone: bool) -> Failure:
    refused = alone and error.code() in REFUSALS
    return Failure(index, "refused" if refused else "lost", error.str())
