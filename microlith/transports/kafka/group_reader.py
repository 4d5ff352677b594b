"""Reading as one of a group: which partitions are whose, what is committed and when.

Offsets are committed after the fact, some times a second and whenever partitions are given up. A partition that is to be
given up is drained first: nothing more of it is handed out, what is out has a while to be settled, and what was settled is
committed before the next one of the group begins.

The commit carries a mark when nothing above it was ever handed out, so that the next one knows what comes for the first
time; it takes the mark away before it hands out anything.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from logging import getLogger

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from microlith.plurals import plural
from microlith.transports.kafka.binding import to_parcel
from microlith.transports.kafka.claims import Claim
from microlith.transports.kafka.groups import GroupProtocol
from microlith.transports.kafka.health import Health
from microlith.transports.kafka.intake import Arriving, Record
from microlith.transports.kafka.marks import LONGEST, UNTOUCHED, read_mark, write_mark
from microlith.transports.kafka.names import group_name, topic_name
from microlith.transports.kafka.reading import Reader, SleptError
from microlith.transports.protocol import Parcel, Subscribing, wants

_LOG = getLogger(__name__)
COMMIT_SECONDS = 0.5
DRAIN_SECONDS = 5.0
"""How long what is out may take to be settled before its partition is given up all the same."""
_ASK_SECONDS = 4.0
_MOST_AHEAD = 10_000
"""Settled offsets remembered above one that is not settled; then its partition waits for it."""


class GroupReader(Reader):
    """Reads one topic, together with others of its group."""

    def __init__(
        self,
        connection: Mapping[str, str | int | bool],
        health: Health,
        protocol: GroupProtocol,
        app: str,
        wanted: Subscribing,
        prefetch: int,
        put_aside: Callable[[Arriving, str], None],
    ) -> None:
        topic = topic_name(app, wanted.topic)
        super().__init__(connection, health, topic, prefetch, partial(_wanted, wanted), put_aside, settles=True)
        self._protocol = protocol
        self._group = group_name(app, wanted)
        # What follows belongs to the thread.
        self._claims: dict[int, Claim] = {}
        self._given_up: dict[int, Claim] = {}
        self._begun: set[int] = set()
        self._committed: dict[int, int] = {}
        self._longest_mark = LONGEST
        self._commits_under_way = 0
        self._next_commit = 0.0
        self._failure: KafkaException | None = None

    def settings(self) -> Mapping[str, object]:
        """Tell the group, and how it shares."""
        return {"group.id": self._group, "on_commit": self._on_commit, **self._protocol.settings()}

    def begin(self, consumer: Consumer) -> None:
        """Join the group."""
        self._failure = None
        self._commits_under_way = 0
        consumer.subscribe([self.topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)

    def records(self, messages: Sequence[Message]) -> list[Record]:
        """Tell which lie in partitions that are still ours, and were not read before."""
        found = []
        for message in messages:
            number, offset = message.partition(), message.offset()
            claim = None if number is None else self._claims.get(number)
            if claim is not None and offset is not None and offset >= claim.next:
                claim.next = offset + 1
                found.append((claim, message, offset))
        return found

    def tick(self, consumer: Consumer, now: float) -> None:
        """Commit what was settled meanwhile."""
        if self._failure is not None:
            raise self._failure
        if now < self._next_commit or self._commits_under_way or self.health.suspected:
            return
        self._next_commit = now + COMMIT_SECONDS
        self._commit(
            consumer,
            [
                self._progress(claim)
                for number, claim in self._claims.items()
                if number in self._begun and claim.changes > self._committed[number]
            ],
        )

    def held(self) -> frozenset[int]:
        """Tell which partitions wait: for their first commit, or for one that is not settled."""
        return frozenset(
            number for number, claim in self._claims.items() if number not in self._begun or claim.ahead > _MOST_AHEAD
        )

    def assigned(self) -> frozenset[int]:
        """Tell which partitions are ours."""
        return frozenset(self._claims)

    def has_out(self) -> bool:
        """Tell whether something that was handed out is not settled."""
        return any(claim.out for claim in self._claims.values())

    def end(self, consumer: Consumer) -> None:
        """Commit what was settled, and leave the group."""
        try:
            consumer.close()
        finally:
            self._forget(self._claims.copy(), 0)

    def failed(self, error: KafkaException | SleptError) -> None:
        """Take another group protocol where the broker has not this one."""
        if isinstance(error, SleptError) or not self._protocol.adapt(error.args[0]):
            super().failed(error)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            starts = self._claim(consumer, [partition.partition for partition in partitions])
        except KafkaException as error:
            self._failure = error  # raised by the next tick; without a claim nothing is handed out until then
            return
        self.stay_awake()  # to ask takes as long as the broker takes
        consumer.incremental_assign(starts)
        if held := [start for start in starts if start.partition not in self._begun]:
            consumer.pause(held)
            self._paused |= {start.partition for start in held}
            self._commit(consumer, held)

    def _claim(self, consumer: Consumer, numbers: Sequence[int]) -> list[TopicPartition]:
        """Find out where to begin."""
        starts = []
        asked = [TopicPartition(self.topic, number) for number in numbers]
        for partition in consumer.committed(asked, timeout=_ASK_SECONDS):
            if partition.error is not None:
                raise KafkaException(partition.error)
            number, start = partition.partition, partition.offset
            low, high = consumer.get_watermark_offsets(TopicPartition(self.topic, number), timeout=_ASK_SECONDS)
            earlier, mark = self._given_up.pop(number, None), partition.metadata
            untouched = start < 0 or mark == UNTOUCHED
            if 0 <= start < low:
                _LOG.error("Deleted before read, in %s/%d: %s", self.topic, number, plural(low - start, "record"))
            start = max(start, low)
            claim = Claim(number, start, start if untouched else high)
            claim.remember(start, read_mark(partition.offset, mark))
            if earlier is not None and earlier.done <= high:
                settled = earlier.settled.copy()  # first, and at one go: the loop may settle meanwhile
                claim.remember(earlier.done, settled)
            self._claims[number] = claim
            self._committed[number] = 0
            if not untouched:
                self._begun.add(number)
            starts.append(TopicPartition(self.topic, number, claim.next))
        return starts

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        mine = {one.partition: self._claims[one.partition] for one in partitions if one.partition in self._claims}
        begun = self._begun & mine.keys()
        self._forget(mine, 0 if self.stopping else DRAIN_SECONDS)
        if self.health.suspected:
            return
        # librdkafka waits for this commit before it lets go of the partitions.
        self._commit(
            consumer,
            [
                TopicPartition(self.topic, number, claim.done, UNTOUCHED) if claim.untouched else self._progress(claim)
                for number, claim in mine.items()
                if number in begun
            ],
        )

    def _on_lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._forget(
            {one.partition: self._claims[one.partition] for one in partitions if one.partition in self._claims}, 0
        )

    def _forget(self, claims: Mapping[int, Claim], seconds: float) -> None:
        """Give claims up, but remember what was settled."""
        for number in claims:
            del self._claims[number]
            self._begun.discard(number)
        self._paused -= claims.keys()
        if claims:
            self.intake.give_up(frozenset(claims.values()), seconds)
            self.stay_awake()
        self._given_up.update(claims)

    def _progress(self, claim: Claim) -> TopicPartition:
        """Write down how far a claim has got."""
        self._committed[claim.number] = claim.changes
        settled = claim.settled.copy()  # first, and at one go: the loop may settle meanwhile
        done = claim.done
        mark = write_mark(done, (offset for offset in settled if offset >= done), self._longest_mark)
        return TopicPartition(self.topic, claim.number, done, mark)

    def _commit(self, consumer: Consumer, offsets: Collection[TopicPartition]) -> None:
        if offsets:
            self._commits_under_way += 1
            consumer.commit(offsets=list(offsets), asynchronous=True)

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        self._commits_under_way -= 1
        for one in partitions:
            number = one.partition
            failure = error or one.error
            if number not in self._claims:
                continue
            if failure is not None:
                self._committed[number] = -1  # once more, with the next commit
                if failure.code() == KafkaError.OFFSET_METADATA_TOO_LARGE:
                    self._longest_mark = 0
                if number not in self._begun:
                    self._failure = KafkaException(failure)
            elif number not in self._begun:
                self._begun.add(number)


def _wanted(wanted: Subscribing, message: Message) -> Parcel | None:
    parcel = to_parcel(message)
    return parcel if wants(wanted, parcel) else None
