"""Timers against what goes wrong: restarts, jumping clocks, types that are gone, full queues, a store that refuses."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from time import time

import pytest

from microlith import Command, Component, Event, Microlith, Scheduled
from microlith.delivery import Delivery, timers
from microlith.errors import StoreUnavailableError
from microlith.testing import VirtualClock, in_memory, virtual_clock
from microlith.testing.virtual_clock import ClockError
from tests.eventually import eventually


class Ring(Command):
    """Ring the bell."""

    bell: int


class RungEvent(Event):
    """It rang."""

    bell: int


class Ding(Command):
    """Ring the other bell."""


class JumpingClock:
    """A wall clock that a test sets, and a steady one that it moves."""

    def __init__(self) -> None:
        self.wall = time()
        self.passed = 100.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.passed

    def wait(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds


def tower(store: str, rung: list[int], *, ding: bool = True, gate: asyncio.Event | None = None, **options) -> Microlith:
    component = Component("tower")

    @component.handles(Ring)
    async def ring(command: Ring) -> RungEvent:
        if gate is not None:
            await gate.wait()
        rung.append(command.bell)
        return RungEvent(bell=command.bell)

    if ding:

        @component.handles(Ding)
        async def ding_it(command: Ding) -> None:
            rung.append(0)

    return Microlith("tower", [component], store=store, **options)


def running(app: Microlith) -> Delivery:
    assert app.delivery is not None
    return app.delivery


@pytest.fixture(params=["memory:", "sqlite:{}/events.db"])
def store(request, tmp_path):
    return request.param.format(tmp_path)


@pytest.fixture
def file(tmp_path):
    return f"sqlite:{tmp_path}/events.db"


async def test_schedule_is_sent_by_the_clock_of_the_machine(store):
    rung: list[int] = []
    async with tower(store, rung) as app:
        begun = asyncio.get_running_loop().time()
        await app.command_bus.dispatch(Ring(bell=1), after=0.1)
        await eventually(lambda: rung == [1])

        assert 0.09 < asyncio.get_running_loop().time() - begun < 5
        assert await app.idle()
        assert await app.schedules() == []


async def test_schedule_survives_a_restart_and_is_sent_when_it_is_due(file):
    rung: list[int] = []
    async with tower(file, rung) as app:
        await app.command_bus.dispatch(Ring(bell=1), after=0.2)
        app.command_bus.dispatch(Ring(bell=2), after=3600)

    async with tower(file, rung) as app:
        early = list(rung)
        await eventually(lambda: rung == [1])

        assert early == []
        assert [schedule.type for schedule in await app.schedules()] == ["Ring"]


async def test_what_became_due_while_nothing_ran_is_sent_at_start_in_order(file):
    rung: list[int] = []
    async with tower(file, rung) as app:
        running(app).timers.close()
        for bell in (3, 1, 2):
            await app.command_bus.dispatch(Ring(bell=bell), at=datetime.now(UTC) + timedelta(seconds=bell - 10))

    async with tower(file, rung) as app:
        assert await app.idle()

        assert rung == [1, 2, 3]
        assert [event.message for event in await app.store.read_all()] == [RungEvent(bell=bell) for bell in (1, 2, 3)]


async def test_looking_after_schedules_sends_nothing(file):
    rung: list[int] = []
    app = tower(file, rung)
    app.sends_scheduled = False
    async with app:
        receipt = await app.command_bus.dispatch(Ring(bell=1), after=0)
        assert await app.idle()

        assert len(await app.schedules()) == 1
        assert await app.cancel_schedule(receipt.message_id)
    assert rung == []


async def test_jump_of_the_wall_clock_moves_no_length_of_time(store, monkeypatch):
    monkeypatch.setattr(timers, "_LOOK_EVERY", 0.01)
    rung: list[int] = []
    app, clock = tower(store, rung), JumpingClock()
    app.clock = clock
    async with app:
        await app.command_bus.dispatch(Ring(bell=1), after=60)
        clock.wall += 3600
        await asyncio.sleep(0.05)
        forwards = list(rung)
        clock.wall -= 7200
        clock.wait(59)
        await asyncio.sleep(0.05)
        backwards = list(rung)
        clock.wait(1)
        await eventually(lambda: rung == [1])

        assert forwards == backwards == []


async def test_moment_goes_by_the_wall_clock_wherever_it_jumps(store, monkeypatch):
    monkeypatch.setattr(timers, "_LOOK_EVERY", 0.01)
    rung: list[int] = []
    app, clock = tower(store, rung), JumpingClock()
    app.clock = clock
    async with app:
        at = datetime.fromtimestamp(clock.wall, UTC) + timedelta(hours=1)
        await app.command_bus.dispatch(Ring(bell=1), at=at)
        await app.command_bus.dispatch(Ring(bell=2), after=3600)
        clock.wall += 3600

        await eventually(lambda: rung == [1])


async def test_message_that_fits_no_more_stays_with_its_error_and_is_in_nobodys_way(file, caplog):
    rung: list[int] = []
    async with tower(file, rung) as app:
        running(app).timers.close()
        await app.command_bus.dispatch(Ding(), after=0)
        await app.command_bus.dispatch(Ring(bell=1), after=0)

    with caplog.at_level(logging.CRITICAL, "microlith"):
        async with tower(file, rung, ding=False) as app:
            await eventually(lambda: rung == [1])
            assert await app.idle()

            (left,) = await app.schedules()
            assert left.type == "Ding"
            assert "Ding" in str(left.error)

    async with tower(file, rung) as app:
        await eventually(lambda: rung == [1, 0])
        assert await app.idle()
        assert await app.schedules() == []


async def test_message_whose_handler_is_gone_stays_with_its_error(file, caplog):
    rung: list[int] = []
    async with tower(file, rung) as app:
        running(app).timers.close()
        await app.command_bus.dispatch(Ding(), after=0)

    without = tower(file, rung, ding=False)
    without.types.add(Ding, "tower")
    with caplog.at_level(logging.CRITICAL, "microlith"):
        async with without as app:
            assert await app.idle()
            (left,) = await app.schedules()

    assert str(left.error).startswith("NoHandlerError")


async def test_full_queue_delays_its_own_messages_and_no_others(store, monkeypatch):
    monkeypatch.setattr(timers, "_FULL_PAUSE", 0.01)
    monkeypatch.setattr(timers, "_PAGE", 2)
    rung: list[int] = []
    gate = asyncio.Event()
    async with tower(store, rung, gate=gate, lane_limit=2) as app:
        for bell in range(1, 9):
            await app.command_bus.dispatch(Ring(bell=bell), after=0)
        await app.command_bus.dispatch(Ding(), after=0)
        await eventually(lambda: rung == [0])
        gate.set()
        await eventually(lambda: len(rung) == 9)

        assert rung == list(range(9))


async def test_store_that_refuses_for_a_while_is_asked_again(file, monkeypatch, caplog):
    rung: list[int] = []
    async with tower(file, rung) as app:
        complete, refusals = app.store.complete, []

        def refuse(unit, done) -> None:
            if unit.takes is not None and len(refusals) < 2:
                refusals.append(unit)
                done(None, StoreUnavailableError("the disk is full"))
            else:
                complete(unit, done)

        monkeypatch.setattr(app.store, "complete", refuse)
        with caplog.at_level(logging.ERROR, "microlith"):
            await app.command_bus.dispatch(Ring(bell=1), after=0)
            await eventually(lambda: rung == [1])

        assert len(refusals) == 2
        assert "tried again" in caplog.text


async def test_schedule_that_cannot_be_kept_is_told_by_its_receipt(file, monkeypatch, caplog):
    async with tower(file, []) as app:
        monkeypatch.setattr(
            app.store, "complete", lambda unit, done: done(None, StoreUnavailableError("the disk is full"))
        )
        with pytest.raises(StoreUnavailableError, match="disk is full"):
            await app.command_bus.dispatch(Ring(bell=1), after=1)


async def test_virtual_clock_notices_what_is_due_without_end(monkeypatch):
    monkeypatch.setattr(virtual_clock, "_LONGEST", 0.1)
    component = Component("loop")

    @component.handles(Ring)
    async def ring(command: Ring) -> object:
        return Scheduled(Ring(bell=command.bell + 1), after=0)

    clock = VirtualClock()
    async with in_memory(Microlith("loop", [component], max_depth=10**9), clock=clock) as app:
        await app.command_bus.dispatch(Ring(bell=1))
        with pytest.raises(ClockError, match="had not ended"):
            await clock.advance(1)
