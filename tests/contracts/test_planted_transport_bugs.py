"""The contract of transports notices what it is there for: transports that are wrong on purpose fail it."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from microlith.testing.memory_broker import MemoryBroker, MemoryTransport
from microlith.testing.transport_contract import Stage, TransportContract, stage
from microlith.transports import (
    Address,
    Inbox,
    Parcel,
    ParcelRefusedError,
    Subscribing,
    Topology,
    Transport,
    TransportError,
)
from tests.contracts.test_transport import BrokerInMemory, TestMemoryTransport


class Broker(BrokerInMemory):
    """A broker that makes transports of some kind."""

    def __init__(self, kind: type[MemoryTransport], memory: MemoryBroker) -> None:
        super().__init__()
        self._broker = memory
        self._kind = kind

    def connect(self) -> Transport:
        return self._kind(self._broker)


class AcknowledgesBeforeHandingOut(MemoryTransport):
    """Settles what it hands out, as it hands it out."""

    async def _arrivals(self, queue: Any, prefetch: int | None) -> AsyncIterator[Any]:
        async for arrival in super()._arrivals(queue, prefetch):
            arrival.settle()
            yield arrival


class DropsWhenLost(MemoryTransport):
    """Forgets what was unsettled when the connection was lost."""

    def lose(self, why: str) -> None:
        for arrivals in self._unsettled.values():
            for arrival in list(arrivals):
                arrival.settle()
        super().lose(why)


class PutsBackInAnotherOrder(MemoryTransport):
    """Gives back what was unsettled with the last first."""

    def _give_back(self) -> None:
        for arrivals in self._unsettled.values():
            turned = dict(reversed(arrivals.items()))
            arrivals.clear()
            arrivals.update(turned)
        super()._give_back()


class PutsBackAtTheEnd(MemoryTransport):
    """Gives back what was unsettled behind what was sent later."""

    def _give_back(self) -> None:
        waiting = {queue: list(queue.waiting) for queue in self._unsettled}
        for queue in waiting:
            queue.waiting.clear()
        super()._give_back()
        for queue, later in waiting.items():
            queue.waiting.extendleft(reversed(later))


class ForgetsThatItCameBefore(MemoryTransport):
    """Says of everything that it comes for the first time."""

    async def _arrivals(self, queue: Any, prefetch: int | None) -> AsyncIterator[Any]:
        async for arrival in super()._arrivals(queue, prefetch):
            arrival.again = False
            yield arrival


class HandsOutOneTooMany(MemoryTransport):
    """Counts its unsettled arrivals from one."""

    def subscribe(self, wanted: Subscribing, *, prefetch: int) -> AsyncIterator[Any]:
        return super().subscribe(wanted, prefetch=prefetch + 1)


class LosesRoomWhenItRefuses(MemoryTransport):
    """Does not count what was refused as settled."""

    async def _arrivals(self, queue: Any, prefetch: int | None) -> AsyncIterator[Any]:
        async for arrival in super()._arrivals(queue, prefetch):
            put_aside = arrival._over

            def over(one: Any, reason: str | None, put_aside: Any = put_aside) -> None:
                if reason is None:
                    put_aside(one, reason)
                else:
                    self._broker.refused.append((one.parcel, reason))

            arrival._over = over
            yield arrival


class DropsWhatItRefuses(MemoryTransport):
    """Puts nothing aside."""

    async def _arrivals(self, queue: Any, prefetch: int | None) -> AsyncIterator[Any]:
        async for arrival in super()._arrivals(queue, prefetch):
            settle = arrival._over

            def over(one: Any, _reason: str | None, settle: Any = settle) -> None:
                settle(one, None)

            arrival._over = over
            yield arrival


class SettlesByNumber(MemoryTransport):
    """Settles the parcel with the same number on the connection of now, whatever connection an arrival came over."""

    async def _arrivals(self, queue: Any, prefetch: int | None) -> AsyncIterator[Any]:
        number = 0
        held = self._unsettled.setdefault(queue, {})
        async for arrival in super()._arrivals(queue, prefetch):
            number = number + 1 if len(held) > 1 else 1

            def over(_one: Any, reason: str | None, number: int = number, settle: Any = arrival._over) -> None:
                if held:
                    settle(list(held)[min(number, len(held)) - 1], reason)

            arrival._over = over
            yield arrival


class LeavesAll(MemoryTransport):
    """Gives everything back when an iteration is left."""

    async def _arrivals(self, queue: Any, prefetch: int | None) -> AsyncIterator[Any]:
        try:
            async for arrival in super()._arrivals(queue, prefetch):
                yield arrival
        finally:
            self._give_back()


class TakesOnWhenItWasLeft(MemoryTransport):
    """Goes on to fetch when its iteration was left, for nobody."""

    async def _arrivals(self, queue: Any, prefetch: int | None) -> AsyncIterator[Any]:
        fetched: asyncio.Queue[Any] = asyncio.Queue()

        async def fetch() -> None:
            async for arrival in super(TakesOnWhenItWasLeft, self)._arrivals(queue, prefetch):
                fetched.put_nowait(arrival)

        self._fetching = asyncio.create_task(fetch())
        while True:
            yield await fetched.get()


class TakesWhileAway(MemoryTransport):
    """Says that it was sent when nobody is there."""

    async def publish(self, parcels: Sequence[tuple[Address, Parcel]]) -> None:
        if not self._broker.away:
            await super().publish(parcels)


class ConfirmsTooEarly(MemoryTransport):
    """Says that a batch was taken before the broker has it: what is lost between is lost."""

    async def publish(self, parcels: Sequence[tuple[Address, Parcel]]) -> None:
        app = self._opened().app
        for address, parcel in parcels:
            await asyncio.sleep(0)
            if not self._broker.away:
                self._broker.take(app, address, parcel)


class SendsABatchBackwards(MemoryTransport):
    """Sends a batch of several in another order."""

    async def publish(self, parcels: Sequence[tuple[Address, Parcel]]) -> None:
        await super().publish(parcels[::-1])


class NamesTheWrongOne(MemoryTransport):
    """Counts the refused parcel from one."""

    async def publish(self, parcels: Sequence[tuple[Address, Parcel]]) -> None:
        try:
            await super().publish(parcels)
        except ParcelRefusedError as refused:
            raise ParcelRefusedError(refused.index + 1, "too large") from None


class WritesAscii(MemoryTransport):
    """Keeps of a text what an old header takes."""

    async def publish(self, parcels: Sequence[tuple[Address, Parcel]]) -> None:
        def plain(texts: Any) -> dict[str, str]:
            return {name: text.encode("ascii", "replace").decode() for name, text in texts.items()}

        await super().publish([(to, one._replace(attributes=plain(one.attributes))) for to, one in parcels])


class TakesEveryType(MemoryTransport):
    """Hands out what the group does not take."""

    def subscribe(self, wanted: Subscribing, *, prefetch: int) -> AsyncIterator[Any]:
        return super().subscribe(wanted._replace(types=None), prefetch=prefetch)


class KeepsQueries(MemoryTransport):
    """Keeps queries for who listens later."""

    async def close(self) -> None:
        kept = [(queue, list(queue.waiting)) for queue in self._broker.groups.values()]
        await super().close()
        for queue, waiting in kept:
            if not queue.waiting:
                queue.waiting.extend(waiting)
            queue.takers.add(self)


class KeepsInboxes(MemoryTransport):
    """Leaves its inbox, with what is in it."""

    async def open(self, topology: Topology) -> None:
        inboxes = dict(self._broker.inboxes)
        await super().open(topology)
        self._broker.inboxes.update(inboxes)

    async def close(self) -> None:
        inboxes = dict(self._broker.inboxes)
        await super().close()
        self._broker.inboxes.update(inboxes)


class SaysNothingOfALoss(MemoryTransport):
    """Tells nobody that the connection was lost."""

    def lose(self, _why: str) -> None:
        self._give_back()


class OpensToNobody(MemoryTransport):
    """Opens where nothing is."""

    def _reach(self) -> None:
        if self._closed:
            super()._reach()


class StopsWhenLost(MemoryTransport):
    """Ends its iterations when the connection is lost."""

    async def _arrivals(self, queue: Any, prefetch: int | None) -> AsyncIterator[Any]:
        async for arrival in super()._arrivals(queue, prefetch):
            if arrival.again:
                return
            yield arrival


class LeavesATask(MemoryTransport):
    """Leaves something running."""

    async def open(self, topology: Topology) -> None:
        await super().open(topology)
        self._left = asyncio.create_task(asyncio.sleep(5))


class LeavesItsIterations(MemoryTransport):
    """Does not end what iterates."""

    async def _arrivals(self, queue: Any, prefetch: int | None) -> AsyncIterator[Any]:
        async for arrival in super()._arrivals(queue, prefetch):
            yield arrival
        await asyncio.sleep(5)


class MissesAGroup(MemoryTransport):
    """Does not make the place of a group until it is subscribed to."""

    async def open(self, topology: Topology) -> None:
        await super().open(topology._replace(takes=tuple(one for one in topology.takes if one.topic.kind != "event")))


class PlansNothing(MemoryTransport):
    """Knows of nothing that is missing."""

    async def plan(self, _topology: Topology) -> list[Any]:
        return []


class PlansByMaking(MemoryTransport):
    """Makes what it only ought to tell of."""

    async def plan(self, topology: Topology) -> list[Any]:
        told = await super().plan(topology)
        for one in topology.takes:
            self._broker.group(topology.app, one.topic, one.group)
        return told


class SharesKeys(MemoryBroker):
    """Lets two of a group have the same key in hand."""

    def group(self, app: str, topic: Any, name: str) -> Any:
        queue = super().group(app, topic, name)
        queue._keyed = False
        return queue


class GivesEachItsOwn(MemoryBroker):
    """Gives each of a group a copy."""

    def take(self, app: str, address: Address, parcel: Parcel) -> None:
        copies = 1
        if not isinstance(address, Inbox):
            copies = max(1, len(self.group(app, address, address.component).takers))
        for _ in range(copies):
            super().take(app, address, parcel)


class MixesApplications(MemoryBroker):
    """Has one place for the commands of all."""

    def group(self, _app: str, topic: Any, name: str) -> Any:
        return super().group("", topic, name)


C = TransportContract
TWO_SHARE = C.test_what_two_share_is_all_done_when_one_closes_and_comes_again_where_it_was_not_settled
COMES_AGAIN = C.test_what_was_not_settled_comes_again_in_order_and_says_so
LOST = C.test_lost_connections_lose_nothing_and_keep_the_order_of_keys
OVER_A_LOSS = C.test_what_is_settled_over_a_lost_connection_counts_where_it_was_held
NOTICED: dict[type, tuple[Callable[..., Any], ...]] = {
    AcknowledgesBeforeHandingOut: (
        COMES_AGAIN,
        OVER_A_LOSS,
        C.test_no_more_than_the_bound_are_unsettled_at_a_time,
        C.test_what_one_has_not_settled_goes_to_another_when_it_closes,
        TWO_SHARE,
    ),
    DropsWhenLost: (OVER_A_LOSS,),
    PutsBackInAnotherOrder: (COMES_AGAIN, OVER_A_LOSS, C.test_what_one_has_not_settled_goes_to_another_when_it_closes),
    PutsBackAtTheEnd: (C.test_takers_that_go_leave_the_order_to_the_next,),
    ForgetsThatItCameBefore: (
        COMES_AGAIN,
        C.test_what_comes_again_can_be_left_and_comes_once_more,
        TWO_SHARE,
    ),
    HandsOutOneTooMany: (C.test_no_more_than_the_bound_are_unsettled_at_a_time,),
    LosesRoomWhenItRefuses: (C.test_refused_makes_room_for_the_next,),
    DropsWhatItRefuses: (C.test_refused_is_put_aside_with_the_reason_and_does_not_come_again,),
    SettlesByNumber: (OVER_A_LOSS,),
    LeavesAll: (C.test_what_was_taken_can_be_settled_after_the_iteration_was_left,),
    TakesOnWhenItWasLeft: (C.test_who_leaves_the_iteration_leaves_the_rest_to_another_where_several_take,),
    TakesWhileAway: (C.test_who_sends_meanwhile_waits_for_the_broker, LOST),
    ConfirmsTooEarly: (LOST,),
    SendsABatchBackwards: (C.test_key_keeps_its_order_within_and_between_batches, LOST),
    NamesTheWrongOne: (C.test_parcel_too_large_is_refused_and_those_before_it_are_taken,),
    TakesEveryType: (C.test_group_gets_the_types_it_takes_and_no_others,),
    KeepsQueries: (C.test_query_is_lost_when_nobody_listens,),
    KeepsInboxes: (C.test_inbox_of_the_same_name_begins_anew,),
    SaysNothingOfALoss: (C.test_loss_and_return_are_told,),
    OpensToNobody: (C.test_start_says_that_the_broker_is_away_and_may_be_tried_again,),
    StopsWhenLost: (OVER_A_LOSS,),
    LeavesATask: (C.test_nothing_is_left_after_the_close,),
    LeavesItsIterations: (C.test_iterations_end,),
    MissesAGroup: (C.test_new_group_begins_with_what_is_sent_from_then_on,),
    PlansNothing: (C.test_plan_tells_what_is_missing_and_changes_nothing,),
    PlansByMaking: (C.test_plan_tells_what_is_missing_and_changes_nothing,),
    SharesKeys: (C.test_no_other_gets_a_key_while_one_has_it_unsettled,),
    GivesEachItsOwn: (C.test_each_parcel_goes_to_one_of_the_group,),
    MixesApplications: (C.test_application_hears_nothing_of_another_one,),
}
PAIRS = [(wrong, check) for wrong, checks in NOTICED.items() for check in checks]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(stage, "PATIENCE", 0.5)


async def run(check: Callable[..., Any], tested: type, **arguments: Any) -> None:
    """Run a test of the contract against a kind of transport, or of broker."""
    is_broker = issubclass(tested, MemoryBroker)
    broker = Broker(MemoryTransport, tested()) if is_broker else Broker(tested, MemoryBroker())
    stage = Stage(broker)
    wants = inspect.signature(check).parameters
    given = {"stage": stage, "broker": broker, **arguments}
    try:
        await check(TestMemoryTransport(), **{name: value for name, value in given.items() if name in wants})
    finally:
        await stage.close()


@pytest.mark.parametrize(("wrong", "check"), PAIRS, ids=lambda one: one.__name__)
async def test_transport_that_is_wrong_is_noticed(wrong, check):
    with pytest.raises((AssertionError, TimeoutError, pytest.fail.Exception, TransportError)):
        await run(check, wrong)


async def test_transport_that_changes_texts_is_noticed():
    sent = Parcel({"type": "Strange", "subject": "Größe"}, b"")

    with pytest.raises(AssertionError):
        await run(C.test_parcel_arrives_as_it_was_sent, WritesAscii, kind="command", sent=sent)


@pytest.mark.parametrize("check", dict.fromkeys(check for _, check in PAIRS), ids=lambda one: one.__name__)
async def test_transport_that_is_right_passes(check):
    await run(check, MemoryTransport)
