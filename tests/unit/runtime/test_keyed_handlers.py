"""Handlers with a key: the messages of one key in order and one at a time, others beside them."""

import asyncio
import random
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from microlith import Aggregate, Command, Component, Event, HandlerFailedError, Microlith, Personal, Retry, decides
from microlith.context import correlated
from microlith.errors import WiringError
from microlith.handlers.keys import Positions
from tests.eventually import eventually


class Address(BaseModel):
    """Where to."""

    city: str


class Pack(Command):
    """Pack a box of an order."""

    order: str | None
    box: int = 0
    address: Address | None = None
    code: SecretStr = SecretStr("")


class Packed(Event):
    """A box is packed."""

    order: str
    box: int


@pytest.fixture(params=["memory:", "sqlite:{}/events.db"])
def store(request, tmp_path):
    return request.param.format(tmp_path)


def test_a_key_that_is_no_field_is_refused_with_the_nearest_one():
    component = Component("boxes")

    for key, text in (
        ("ordr", "no field 'ordr'"),
        ("address.town", "no field"),
        ("code", "secret"),
        ("box.x", "no field"),
    ):
        with pytest.raises(WiringError, match=text):
            component.handles(Pack, key=key)

    with pytest.raises(WiringError) as caught:
        component.handles(Pack, key="ordr")
    assert caught.value.hint == "Did you mean 'order'?"


def test_a_key_that_is_personal_is_refused():
    class Call(Command):
        """Call somebody; what a dead letter keeps of its key outlives an erasure."""

        phone: Annotated[str, Personal()]

    with pytest.raises(WiringError, match=r"Call\.phone is personal, and no key"):
        Component("calls").handles(Call, key="phone")


async def test_one_key_is_handled_in_order_one_at_a_time_and_others_beside_it(store):
    component = Component("boxes")
    handled: list[tuple[str | None, int]] = []
    at_work: list[str | None] = []
    most = 0

    @component.handles(Pack, key="order", concurrency=4)
    async def pack(command: Pack) -> None:
        nonlocal most
        assert command.order not in at_work
        at_work.append(command.order)
        most = max(most, len(at_work))
        await asyncio.sleep(random.random() / 500)
        at_work.remove(command.order)
        handled.append((command.order, command.box))

    async with Microlith("boxes", [component], store=store) as app:
        for box in range(20):
            for order in "abcdef":
                app.command_bus.dispatch(Pack(order=order, box=box))
        assert await app.idle()

    assert most == 4
    for order in "abcdef":
        assert [box for one, box in handled if one == order] == list(range(20))


async def test_a_slow_key_holds_up_no_other_and_takes_one_worker_only(store):
    component = Component("boxes")
    slow, handled = asyncio.Event(), []

    @component.handles(Pack, key="address.city", concurrency=2)
    async def pack(command: Pack) -> None:
        if command.address and command.address.city == "slow":
            await slow.wait()
        handled.append(command.box)

    async with Microlith("boxes", [component], store=store) as app:
        for box in range(5):
            app.command_bus.dispatch(Pack(order="a", box=box, address=Address(city="slow")))
        for box in range(5, 8):
            app.command_bus.dispatch(Pack(order="a", box=box, address=Address(city=f"town {box}")))
        app.command_bus.dispatch(Pack(order="a", box=8))
        await eventually(lambda: handled == [5, 6, 7, 8])
        slow.set()
        assert await app.idle()

    assert handled == [5, 6, 7, 8, 0, 1, 2, 3, 4]


async def test_messages_without_a_key_are_not_held_up_by_each_other():
    component = Component("boxes")
    together = asyncio.Barrier(3)

    @component.handles(Pack, key="order")
    async def pack(command: Pack) -> None:
        await together.wait()

    async with Microlith("boxes", [component], store="memory:") as app:
        for _ in range(3):
            app.command_bus.dispatch(Pack(order=None))
        assert await app.idle(5)


async def test_a_message_that_is_tried_again_keeps_its_place_in_its_key(store):
    component = Component("boxes")
    tried: list[tuple[str | None, int]] = []

    @component.handles(Pack, key="order", retry=Retry(3, first=0.005))
    async def pack(command: Pack) -> None:
        tried.append((command.order, command.box))
        if command.order == "a" and tried.count(("a", command.box)) < 3:
            raise ConnectionError

    async with Microlith("boxes", [component], store=store) as app:
        for box in range(3):
            for order in "ab":
                app.command_bus.dispatch(Pack(order=order, box=box))
        assert await app.idle()

    assert [box for order, box in tried if order == "a"] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert tried.index(("b", 2)) < tried.index(("a", 1))


async def test_an_event_that_waits_for_its_key_is_not_forgotten_by_a_crash(tmp_path):
    url, handled = f"sqlite:{tmp_path}/events.db", []
    gate = asyncio.Event()

    def boxes() -> Microlith:
        component = Component("boxes")

        @component.handles(Packed, key="order", concurrency=2)
        async def ship(event: Packed) -> None:
            if event.order == "a" and event.box == 0 and not gate.is_set():
                await gate.wait()
                raise RuntimeError("the process is gone")
            handled.append((event.order, event.box))

        return Microlith("boxes", [component], store=url)

    first = boxes()
    async with first:
        for order, box in (("a", 0), ("a", 1), ("b", 0), ("a", 2), ("b", 1)):
            await first.event_bus.dispatch(Packed(order=order, box=box))
        await eventually(lambda: handled == [("b", 0), ("b", 1)])
        await first.stop(0.05, finish_queues=False)
    gate.set()
    async with boxes() as again:
        assert await again.idle()

    assert handled == [("b", 0), ("b", 1), ("a", 0), ("a", 1), ("a", 2)]


class Weigh(Command):
    """Weigh a box."""

    order: str


class Scale(Aggregate, stream="scale-{order}"):
    """Decides slowly for one stream, never in fact: it is the stream that is busy."""

    @decides
    def weigh(self, command: Weigh) -> Packed:
        """Weigh it."""
        return Packed(order=command.order, box=0)


async def test_a_hundred_commands_of_one_stream_leave_the_other_streams_workers():
    component = Component("scales")
    decider = component.aggregate(Scale)
    async with Microlith("scales", [component], store="memory:") as app:
        release = await decider.locks.acquire("scale-busy")
        for _ in range(100):
            app.command_bus.dispatch(Weigh(order="busy"))
        await app.command_bus.execute(Weigh(order="free"), until=Packed, timeout=2)
        release()
        assert await app.idle()
        assert len(await app.store.read("scale-busy")) == 100


async def test_a_handler_that_cancels_its_own_task_fails_with_a_clear_error_and_its_lane_goes_on(store):
    component = Component("boxes")
    handled = []

    @component.handles(Pack)
    async def pack(command: Pack) -> Packed:
        if command.box == 1:
            asyncio.current_task().cancel()  # type: ignore[union-attr]
            await asyncio.sleep(0)
        handled.append(command.box)
        return Packed(order="a", box=command.box)

    async with Microlith("boxes", [component], store=store) as app:
        with pytest.raises(HandlerFailedError, match="cannot cancel the task it runs in"):
            await app.command_bus.execute(Pack(order="a", box=1), until=Packed)
        for box in (2, 3):
            await app.command_bus.execute(Pack(order="a", box=box), until=Packed)

    assert handled == [2, 3]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_lowest_open_position_is_always_known(data: Any):
    positions, model, newest = Positions(), set(), -1
    for _ in range(data.draw(st.integers(0, 40))):
        if model and data.draw(st.booleans()):
            done = data.draw(st.sampled_from(sorted(model)))
            positions.discard(done)
            model.discard(done)
            if data.draw(st.booleans()):
                positions.add(done)
                model.add(done)
        else:
            newest += data.draw(st.integers(1, 3))
            positions.add(newest)
            model.add(newest)
        assert len(positions) == len(model)
        assert list(positions) == sorted(model)


async def test_a_lane_with_a_key_keeps_nothing_of_keys_that_are_done():
    component = Component("boxes")

    @component.handles(Pack, key="order")
    async def pack(command: Pack) -> None:
        if command.box:
            raise ValueError

    async with Microlith("boxes", [component], store="memory:") as app:
        for number in range(200):
            app.command_bus.dispatch(correlated(Pack(order=str(number % 50), box=number // 199)))
        assert await app.idle()
        assert app.delivery is not None
        (lane,) = app.delivery.routes.lanes()

        assert lane.keyed is not None
        assert lane.keyed._waiting == {}
        assert len(lane.keyed) == 0


def test_positions_that_come_one_after_the_other_leave_nothing():
    positions = Positions()

    for position in range(1000):
        positions.add(position)
        positions.discard(position)

    assert (len(positions), len(positions._listed), len(positions._order)) == (0, 0, 0)


def test_open_position_that_stays_keeps_nothing_of_the_others_behind_it():
    positions = Positions()
    positions.add(0)

    for position in range(1, 20_000):
        positions.add(position)
        positions.discard(position)
    positions.add(20_000)

    assert list(positions) == [0, 20_000]
    assert len(positions._listed) + len(positions._order) < 5000
