"""Parking: what comes after a dead letter of its key waits behind it, in order, and nothing of it is lost."""

import asyncio
from collections import defaultdict
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microlith import Command, Component, Event, HandlerFailedError, Microlith
from microlith.context import correlated
from microlith.delivery.retrying import ParkedError


class Pay(Command):
    """Pay for an order."""

    order: str
    number: int


class Paid(Event):
    """An order was paid for."""

    order: str
    number: int


class World:
    """What the handlers meet: which numbers they fail on, and what they were called with."""

    def __init__(self, url: str, *fails: int, key: str | None = "order") -> None:
        self.url = url
        self.key = key
        self.fails = set(fails)
        self.called: list[int] = []
        self.handled: list[int] = []

    def app(self) -> Microlith:
        """Declare the application anew, as after a restart."""
        component = Component("shop")

        @component.handles(Pay, key=self.key, concurrency=4)
        async def pay(command: Pay) -> None:
            await self.take(command.number)

        @component.handles(Paid, key=self.key, concurrency=4)
        async def paid(event: Paid) -> None:
            await self.take(event.number)

        return Microlith("shop", [component], store=self.url)

    async def take(self, number: int) -> None:
        """Fail, or handle."""
        self.called.append(number)
        await asyncio.sleep(0)
        if number in self.fails:
            raise ValueError(f"no {number}")
        self.handled.append(number)


async def send(app: Microlith, kind: type[Any], *numbers: int, order: str = "a") -> None:
    for number in numbers:
        bus = app.command_bus if kind is Pay else app.event_bus
        bus.dispatch(kind(order=order, number=number))
    assert await app.idle()


async def letters(app: Microlith) -> list[tuple[int, str, int, int | None]]:
    """Tell the letters: number, error, attempts, and the number of the one before."""
    found = await app.store.dead_letters(limit=1000)
    numbers = {one.sequence: (await app.store.dead_message(one)).message.number for one in found}  # type: ignore[attr-defined]
    return [(numbers[one.sequence], one.error, one.attempts, numbers.get(one.behind or 0)) for one in found]


async def sequence_of(app: Microlith, number: int) -> int:
    for one in await app.store.dead_letters(limit=1000):
        if (await app.store.dead_message(one)).message.number == number:  # type: ignore[attr-defined]
            return one.sequence
    raise LookupError(number)


@pytest.fixture(params=["memory:", "sqlite:{}/events.db"])
def url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    return str(request.param.format(tmp_path))


@pytest.mark.parametrize("kind", [Pay, Paid])
async def test_later_messages_of_a_key_are_parked_and_others_are_handled(url, kind):
    world = World(url, 1)
    async with world.app() as app:
        await send(app, kind, 0, 1, 2, 3)
        await send(app, kind, 4, order="b")
        first = await sequence_of(app, 1)

        assert await letters(app) == [
            (1, "ValueError: no 1", 1, None),
            (2, f"parked behind {first}", 0, 1),
            (3, f"parked behind {first}", 0, 1),
        ]
    assert sorted(world.called) == [0, 1, 4]


async def test_without_a_key_nothing_is_parked(url):
    world = World(url, 1, key=None)
    async with world.app() as app:
        await send(app, Pay, 0, 1, 2)

        assert [letter[0] for letter in await letters(app)] == [1]
    assert world.handled == [0, 2]


async def test_a_wait_for_a_parked_message_ends_at_once(url):
    world = World(url, 1)
    async with world.app() as app:
        await send(app, Pay, 1)
        sent = correlated(Pay(order="a", number=2))
        app.command_bus.dispatch(sent)
        with pytest.raises(HandlerFailedError, match="parked"):
            await app.event_bus.wait_for(sent.correlation_id, Paid)

    assert world.called == [1]


@pytest.mark.parametrize("kind", [Pay, Paid])
async def test_a_retry_of_the_head_that_goes_well_lets_the_parked_ones_go_on_in_order(url, kind):
    world = World(url, 1)
    async with world.app() as app:
        await send(app, kind, 1, 2, 3, 4)
        world.fails = {3}

        await app.retry_dead_letter(await sequence_of(app, 1))
        assert await app.idle()
        third = await sequence_of(app, 3)

        assert world.handled == [1, 2]
        assert await letters(app) == [(3, "ValueError: no 3", 1, None), (4, f"parked behind {third}", 0, 3)]
        await send(app, kind, 5)
        assert world.handled == [1, 2]
        world.fails = set()
        await app.retry_dead_letter(third)
        assert await app.idle()
        await send(app, kind, 6)
        assert await letters(app) == []
    assert world.handled == [1, 2, 3, 4, 5, 6]
    assert world.called == [1, 1, 2, 3, 3, 4, 5, 6]


async def test_a_dropped_head_lets_the_parked_ones_go_on(url):
    world = World(url, 1)
    async with world.app() as app:
        await send(app, Pay, 1, 2, 3)

        await app.drop_dead_letter(await sequence_of(app, 1))
        assert await app.idle()

        assert await letters(app) == []
    assert world.handled == [2, 3]


async def test_a_parked_letter_that_is_dropped_moves_nothing(url):
    world = World(url, 1)
    async with world.app() as app:
        await send(app, Pay, 1, 2, 3)

        await app.drop_dead_letter(await sequence_of(app, 2))
        assert await app.idle()

        assert [letter[0] for letter in await letters(app)] == [1, 3]
    assert world.called == [1]


async def test_a_retry_of_a_parked_letter_is_refused_and_names_the_head(url):
    world = World(url, 1)
    async with world.app() as app:
        await send(app, Pay, 1, 2)
        head, parked = await sequence_of(app, 1), await sequence_of(app, 2)

        with pytest.raises(ParkedError, match=f"letter {parked} is parked behind dead letter {head}") as caught:
            await app.retry_dead_letter(parked)

    assert caught.value.head == head
    assert world.called == [1]


@pytest.mark.parametrize("kind", [Pay, Paid])
async def test_a_restart_keeps_the_key_parked_and_carries_on_where_a_crash_came_between(tmp_path, kind):
    world = World(f"sqlite:{tmp_path}/events.db", 1)
    async with world.app() as app:
        await send(app, kind, 1, 2)
    async with world.app() as app:
        await send(app, kind, 3)
        assert [letter[3] for letter in await letters(app)] == [None, 1, 1]
        # As if the process had died between the end of the head and the next try.
        assert await app.store.drop_dead_letter(await sequence_of(app, 1))
    assert world.called == [1]

    async with world.app() as app:
        assert await app.idle()
        assert await letters(app) == []
    assert world.handled == [2, 3]


@pytest.mark.parametrize("ends", ["retried", "dropped"])
async def test_the_parked_ones_go_on_though_somebody_was_quicker_with_the_next(url, monkeypatch, ends):
    world = World(url, 1)
    async with world.app() as app:
        await send(app, Pay, 1, 2, 3, 4)
        world.fails.clear()
        second = await sequence_of(app, 2)
        begin_again = app.store.begin_again

        async def be_quicker(handler, envelope):
            if envelope.message.number == 2:
                await (app.retry_dead_letter(second) if ends == "retried" else app.drop_dead_letter(second))
            return await begin_again(handler, envelope)

        monkeypatch.setattr(app.store, "begin_again", be_quicker)
        await app.retry_dead_letter(await sequence_of(app, 1))
        assert await app.idle()

        assert await letters(app) == []
    assert world.handled == ([1, 2, 3, 4] if ends == "retried" else [1, 3, 4])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_nothing_is_lost_or_handled_twice_and_each_key_keeps_its_order(data):
    await random_history(data, World("memory:"), restarts=False)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_the_same_with_restarts_in_a_file(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parking")
    await random_history(data, World(f"sqlite:{folder}/events.db?durability=fast"), restarts=True)


class Model:
    """What must be: for each key the dead letters in order, and what was handled."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.waiting: dict[str, list[int]] = defaultdict(list)
        self.done: dict[str, list[int]] = defaultdict(list)
        self.orders: dict[int, str] = {}

    def send(self, number: int, order: str) -> None:
        self.orders[number] = order
        self.waiting[order].append(number)
        if len(self.waiting[order]) == 1:
            self.go_on(order)

    def go_on(self, order: str) -> None:
        waiting = self.waiting[order]
        while waiting and waiting[0] not in self.world.fails:
            self.done[order].append(waiting.pop(0))

    def drop(self, order: str) -> None:
        self.waiting[order].pop(0)
        self.go_on(order)

    async def check(self, app: Microlith) -> None:
        found = [letter[0] for letter in await letters(app)]
        for order, waiting in self.waiting.items():
            assert [number for number in found if self.orders[number] == order] == waiting
            assert [number for number in self.world.handled if self.orders[number] == order] == self.done[order]
        assert len(found) == sum(map(len, self.waiting.values()))


async def random_history(data: Any, world: World, *, restarts: bool) -> None:
    """Send, fail, retry and drop at random; compare with the model after each step."""
    kind = data.draw(st.sampled_from([Pay, Paid]))
    model = Model(world)
    async with AsyncExitStack() as life:  # Hypothesis ends some histories in the middle
        app = await life.enter_async_context(world.app())
        for number in range(data.draw(st.integers(1, 12))):
            action = data.draw(st.sampled_from(["send", "send", "retry", "drop", *(["restart"] if restarts else [])]))
            heads = [waiting[0] for waiting in model.waiting.values() if waiting]
            if action == "send":
                if data.draw(st.booleans()):
                    world.fails.add(number)
                order = data.draw(st.sampled_from("ab"))
                await send(app, kind, number, order=order)
                model.send(number, order)
            elif action == "restart":
                await life.aclose()
                app = await life.enter_async_context(world.app())
            elif heads:
                await settle_one(data, app, model, action, data.draw(st.sampled_from(heads)))
            await model.check(app)


async def settle_one(data: Any, app: Microlith, model: Model, action: str, head: int) -> None:
    if action == "drop":
        await app.drop_dead_letter(await sequence_of(app, head))
        model.drop(model.orders[head])
    else:
        if data.draw(st.booleans()):
            model.world.fails.discard(head)
        try:
            await app.retry_dead_letter(await sequence_of(app, head))
        except HandlerFailedError:
            assert head in model.world.fails
        model.go_on(model.orders[head])
    assert await app.idle()
