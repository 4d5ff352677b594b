"""Stops that cut handlers off: however often, they use no tries up, and what they cut off is handled in the end."""

import asyncio
from typing import Any

import pytest

from microlith import Command, Component, Event, Microlith, Retry

STOPS = 7
"""More than a message is tried whose process dies each time."""


class Bake(Command):
    """Bake a loaf."""

    loaf: str


class Baked(Event):
    """A loaf is out of the oven."""

    loaf: str


class Bakery:
    """What outlives each application: how often the oven was begun with, and when it gets done."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.begun = 0
        self.done: list[str] = []
        self.cold = False
        self.broken = False
        self.at_work = asyncio.Event()
        self.failed = asyncio.Event()

    def app(self, retry: Retry | None = None) -> Microlith:
        """Declare the application anew, as after a restart."""
        component = Component("bakery")

        @component.handles(Bake, key="loaf", retry=retry)
        async def bake(command: Bake) -> None:
            await self.take(command.loaf)

        @component.handles(Baked, key="loaf", retry=retry)
        async def cool(event: Baked) -> None:
            await self.take(event.loaf)

        return Microlith("bakery", [component], store=self.url)

    async def take(self, loaf: str) -> None:
        """Fail, take for ever, or get done."""
        self.begun += 1
        if self.broken:
            self.failed.set()
            raise RuntimeError("no gas")
        self.at_work.set()
        if self.cold:
            await asyncio.sleep(60)
        self.done.append(loaf)

    async def stop_at_work(self, app: Microlith) -> None:
        """Stop the application when a handler is at work."""
        await self.at_work.wait()
        self.at_work.clear()
        await app.stop(drain=0)


def send(app: Microlith, kind: type[Any], loaf: str) -> None:
    (app.command_bus if kind is Bake else app.event_bus).dispatch(kind(loaf=loaf))


@pytest.fixture
def bakery(tmp_path: Any) -> Bakery:
    return Bakery(f"sqlite:{tmp_path}/events.db?durability=fast")


@pytest.mark.parametrize("kind", [Bake, Baked])
async def test_a_message_that_every_stop_cuts_off_is_handled_in_the_end(bakery, kind):
    bakery.cold = True
    app = bakery.app()
    await app.start()
    send(app, kind, "rye")
    await bakery.stop_at_work(app)
    for _ in range(STOPS):
        app = bakery.app()
        await app.start()
        await bakery.stop_at_work(app)
    bakery.cold = False

    async with bakery.app() as app:
        assert await app.idle()
        assert await app.store.dead_letters() == []

    assert (bakery.done, bakery.begun) == (["rye"], STOPS + 2)


@pytest.mark.parametrize("kind", [Bake, Baked])
async def test_a_parked_letter_that_every_stop_cuts_off_is_handled_in_the_end(bakery, kind):
    bakery.broken = True
    async with bakery.app() as app:
        send(app, kind, "rye")
        send(app, kind, "rye")
        assert await app.idle()
        bakery.broken = False
        (head, _) = await app.store.dead_letters()
        await app.retry_dead_letter(head.sequence)
        bakery.at_work.clear()
        bakery.cold = True
        await bakery.stop_at_work(app)
    for _ in range(STOPS):
        app = bakery.app()
        await app.start()
        await bakery.stop_at_work(app)
    bakery.cold = False

    async with bakery.app() as app:
        assert await app.idle()
        assert await app.store.dead_letters() == []

    assert bakery.done == ["rye", "rye"]


async def test_a_stop_during_a_try_leaves_the_budget_as_it_was(bakery):
    policy = Retry(attempts=3, first=0.001)
    bakery.broken = True
    async with bakery.app(policy) as app:
        app.command_bus.dispatch(Bake(loaf="rye"))
        await bakery.failed.wait()
        bakery.broken, bakery.cold = False, True
        await bakery.stop_at_work(app)
    bakery.broken, bakery.cold = True, False

    async with bakery.app(policy) as app:
        assert await app.idle()
        (letter,) = await app.store.dead_letters()

    assert (letter.attempts, letter.error) == (3, "RuntimeError: no gas")
    assert bakery.begun == 4  # two tries of the budget of three, one of which was begun twice, and the last
