"""Planted bugs: what a simulation must find. A check that finds none of them would prove nothing.

Each bug is one that peers of microlith have had. The number is how many seeds it may take.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from microlith.buses import EventBus
from microlith.delivery import Delivery, HandlerCompletion, Receipt
from microlith.event_store.memory_dead_letters import MemoryDeadLetters
from microlith.event_store.memory_projections import MemoryProjections
from microlith.event_store.protocol import Settlement, Unit
from microlith.handlers.lanes import Lane
from microlith.testing.simulation import Faults, SimulationFailedError, simulate
from microlith.testing.simulation.store import SimulatedEventStore
from microlith.waits import Wait, Waits
from tests.simulation.market import books_balance, make_market, trade

Plant = Callable[[pytest.MonkeyPatch], None]
WITHIN = 400
"""Seeds that a bug may take to be found."""


def acknowledges_before_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Delivery.accept

    def accept(self: Delivery, receipt: Receipt) -> None:
        original(self, receipt)
        if receipt.pending:
            receipt.accepted()

    monkeypatch.setattr(Delivery, "accept", accept)


def loses_a_wake_up(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Lane._rest

    async def rest(self: Lane) -> None:
        await asyncio.sleep(0.001)  # what comes in between finds nobody to wake
        await original(self)

    monkeypatch.setattr(Lane, "_rest", rest)


def settles_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    original = HandlerCompletion._commit

    def commit(self: HandlerCompletion, lane: Lane, handling: Any, *rest: Any, **more: Any) -> Any:
        finishing = original(self, lane, handling, *rest, **more)
        if lane.spec.concurrency > 1:
            self._store.settle(self.settlement(lane, handling))
        return finishing

    monkeypatch.setattr(HandlerCompletion, "_commit", commit)


def counts_as_done_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    original = HandlerCompletion.settlement

    def settlement(self: HandlerCompletion, lane: Lane, *rest: Any) -> Settlement:
        made = original(self, lane, *rest)
        if made.position is not None:
            made.checkpoint = lane.highest_done
        return made

    monkeypatch.setattr(HandlerCompletion, "settlement", settlement)


def does_not_look_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_back(*_: Any) -> None:
        """Look at nothing: what came before the wait is missed."""

    monkeypatch.setattr(EventBus, "_look_back", look_back)


def drops_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Wait.offer
    offered: list[int] = []

    def offer(self: Wait, envelope: Any) -> None:
        offered.append(1)
        if len(offered) % 7:
            original(self, envelope)

    monkeypatch.setattr(Wait, "offer", offer)


def leaks_cancelled_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Waits.close

    def close(self: Waits, wait: Wait) -> None:
        if not wait.future.cancelled():
            original(self, wait)

    monkeypatch.setattr(Waits, "close", close)


def times_out_late(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Waits._set_alarm

    def set_alarm(self: Waits, bucket: int) -> None:
        original(self, bucket)
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(bucket / 100 + 0.2, self._expire)

    monkeypatch.setattr(Waits, "_set_alarm", set_alarm)


def writes_events_and_their_mark_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    original = SimulatedEventStore.complete

    def complete(self: SimulatedEventStore, unit: Unit, done: Any) -> None:
        settlement, unit.settlement = unit.settlement, None
        original(self, unit, done)
        if settlement is not None:
            self._loop.call_later(0.005, self.settle, settlement)

    monkeypatch.setattr(SimulatedEventStore, "complete", complete)


def takes_the_newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Lane.push

    def push(self: Lane, *args: Any, **options: Any) -> None:
        original(self, *args, **options)
        if len(self.queue) > 2:
            self.queue.rotate(1)  # type: ignore[union-attr]

    monkeypatch.setattr(Lane, "push", push)


def forgets_dead_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    original = MemoryDeadLetters.bury

    def bury(self: MemoryDeadLetters, settlement: Settlement, error: str) -> None:
        if settlement.attempts < 3:
            original(self, settlement, error)

    monkeypatch.setattr(MemoryDeadLetters, "bury", bury)


def projects_batches_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    original = MemoryProjections.apply

    def apply(self: MemoryProjections, events: Any) -> None:
        if not events or events[0].position % 5:
            original(self, events)

    monkeypatch.setattr(MemoryProjections, "apply", apply)


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        (acknowledges_before_the_commit, "was acknowledged and is n"),
        (loses_a_wake_up, "did not come to rest"),
        (settles_twice, "was settled twice"),
        (counts_as_done_what_is_under_way, "was never handled by market.pay"),
        (does_not_look_back, "though it had been delivered"),
        (drops_a_wait, "though it had been delivered"),
        (leaks_cancelled_waits, "waits are left"),
        (times_out_late, "s late"),
        (writes_events_and_their_mark_apart, "Event twice: "),
        (takes_the_newest_first, "after a later message"),
        (forgets_dead_letters, "there is no dead letter of it"),
        (projects_batches_in_part, "differ from a fresh fold"),
    ],
)
def test_a_planted_bug_is_found(plant: Plant, told: str, monkeypatch: pytest.MonkeyPatch):
    plant(monkeypatch)
    app = make_market()

    def finds(seed: int) -> bool:
        try:
            simulate(app, trade, seed=seed, faults=Faults.all(), check=books_balance, longest=60)
        except SimulationFailedError as failed:
            return any(told in violation for violation in failed.violations)
        return False

    assert any(finds(seed) for seed in range(WITHIN))
