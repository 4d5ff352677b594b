"""Handlers that return or raise what nobody expects: the message fails, and the next one is handled."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from microlith import Command, Component, Event, HandlerFailedError, Microlith
from microlith.errors import StoreUnavailableError
from tests.eventually import eventually


class Try(Command):
    """Asks a handler to misbehave in one way."""

    way: str


class TryInThread(Command):
    """Asks a handler that runs in a thread."""

    way: str


class TriedEvent(Event):
    """It did not misbehave."""

    value: Any = None


class Furious(BaseException):
    """No Exception."""


class Speechless(Exception):  # noqa: N818 (it stands for an error of an application)
    """Cannot say what went wrong."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def broken_off() -> Iterator[TriedEvent]:
    """Yield a message and fail then."""
    yield TriedEvent()
    raise ValueError("in the middle")


def misbehave(way: str) -> Any:
    """Do it."""
    raised = {
        "furious": Furious("!"),
        "group": BaseExceptionGroup("several", [Furious("!")]),
        "speechless": Speechless(),
        "stop iteration": StopIteration(1),
        "exit": SystemExit(3),
    }
    if way in raised:
        raise raised[way]
    return {
        "well": TriedEvent(),
        "broken off": broken_off(),
        "too large": TriedEvent(value="x" * 2_000_000),
        "unwritable": TriedEvent(value=object()),
    }[way]


WAYS = ["furious", "group", "speechless", "stop iteration", "exit", "broken off"]


def odd(store: str) -> Microlith:
    """Declare an application of handlers that misbehave."""
    component = Component("odd")

    @component.handles(Try)
    async def attempt(command: Try) -> TriedEvent:
        return misbehave(command.way)  # type: ignore[no-any-return]

    @component.handles(TryInThread)
    def attempt_in_thread(command: TryInThread) -> TriedEvent:
        return misbehave(command.way)  # type: ignore[no-any-return]

    return Microlith("odd", [component], store=store)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("command", [Try, TryInThread])
async def test_the_next_message_is_handled_whatever_a_handler_does(command, way, tmp_path):
    async with odd(f"sqlite:{tmp_path}/events.db") as app:
        with pytest.raises(HandlerFailedError):
            await app.command_bus.execute(command(way=way), until=TriedEvent, timeout=2)

        assert await app.command_bus.execute(command(way="well"), until=TriedEvent, timeout=2) == TriedEvent()
        assert len(await app.store.dead_letters()) == 1
        assert [event.type for event in await app.store.read_all()] == ["TriedEvent"]


@pytest.mark.parametrize("way", ["too large", "unwritable"])
async def test_a_message_that_cannot_be_stored_makes_a_dead_letter_of_its_cause(way, tmp_path):
    async with odd(f"sqlite:{tmp_path}/events.db") as app:
        with pytest.raises(HandlerFailedError, match="does not fit TriedEvent"):
            await app.command_bus.execute(Try(way=way), until=TriedEvent, timeout=2)

    async with odd(f"sqlite:{tmp_path}/events.db") as app:
        assert [letter.handler for letter in await app.store.dead_letters()] == ["odd.attempt"]
        assert await app.store.pending_commands() == []


async def test_an_event_whose_commit_the_store_refused_is_handled_at_the_next_start(tmp_path, monkeypatch):
    handled = []

    def noting() -> Microlith:
        component = Component("noting")
        component.handles(Try)(begin)

        @component.handles(TriedEvent)
        async def note(event: TriedEvent) -> Try | None:
            handled.append(event.value)
            return Try(way="last") if event.value == 1 else None

        return Microlith("noting", [component], store=f"sqlite:{tmp_path}/events.db")

    async def begin(command: Try) -> list[TriedEvent]:
        return [] if command.way == "last" else [TriedEvent(value=1), TriedEvent(value=2)]

    async with noting() as app:
        complete = app.store.complete

        def refuse_once(unit, done) -> None:
            if unit.settlement is not None and unit.settlement.handler == "noting.note":
                done(None, StoreUnavailableError("the disk is full"))
            else:
                complete(unit, done)

        monkeypatch.setattr(app.store, "complete", refuse_once)
        await app.command_bus.dispatch(Try(way="first"))
        await eventually(lambda: handled == [1, 2])

    async with noting():
        await eventually(lambda: handled == [1, 2, 1])


async def test_a_handler_that_stops_the_application_leaves_nothing_open(tmp_path):
    component = Component("last")
    app = Microlith("last", [component], store=f"sqlite:{tmp_path}/events.db")

    @component.handles(Try)
    async def leave(command: Try) -> None:
        await app.stop(drain=0.01)

    await app.start()
    await app.command_bus.dispatch(Try(way="out"))
    await eventually(lambda: app.delivery is None)
    await eventually(lambda: len(asyncio.all_tasks()) == 1)

    async with app:  # the store is free again
        assert await app.store.read_all() == []
