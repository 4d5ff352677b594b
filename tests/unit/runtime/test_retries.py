"""Retries: a failing handler tries again in its place, counted, and then gives up without holding others back."""

import asyncio

import pytest

from microlith import Command, Component, Event, HandlerFailedError, Microlith, Retry, WiringError


class Fetch(Command):
    """Ask for something that fails at first."""

    number: int
    failures: int


class FetchedEvent(Event):
    """It came at last."""

    number: int


class Flaky:
    """Counts the tries of each number."""

    def __init__(self) -> None:
        self.tries: list[int] = []


def shop(flaky: Flaky, store: str, retry: Retry) -> Microlith:
    """Declare an application whose handler fails a given number of times."""
    component = Component("shop")

    @component.handles(Fetch, retry=retry)
    async def fetch(command: Fetch) -> FetchedEvent:
        flaky.tries.append(command.number)
        if flaky.tries.count(command.number) <= command.failures:
            raise ConnectionError("not yet")
        return FetchedEvent(number=command.number)

    return Microlith("shop", [component], store=store)


@pytest.fixture(params=["memory:", "sqlite:{}/events.db"])
def store(request, tmp_path) -> object:
    """Name a store: in memory, and in a file."""
    return request.param.format(tmp_path)


async def test_a_handler_that_fails_at_first_succeeds_in_its_place(store):
    flaky = Flaky()
    async with shop(flaky, store, Retry(attempts=3, first=0.001)) as app:
        first = app.command_bus.dispatch(Fetch(number=1, failures=2))
        second = app.command_bus.dispatch(Fetch(number=2, failures=0))
        await app.event_bus.wait_for(first.correlation_id, FetchedEvent)
        await app.event_bus.wait_for(second.correlation_id, FetchedEvent)

        events = [event.message.model_dump()["number"] for event in await app.store.read_all()]

    assert flaky.tries == [1, 1, 1, 2]
    assert events == [1, 2]


async def test_after_the_last_try_the_message_is_a_dead_letter_and_the_lane_goes_on(store):
    flaky = Flaky()
    async with shop(flaky, store, Retry(attempts=3, first=0.001)) as app:
        with pytest.raises(HandlerFailedError, match="not yet"):
            await app.command_bus.execute(Fetch(number=1, failures=9), until=FetchedEvent)
        await app.command_bus.execute(Fetch(number=2, failures=0), until=FetchedEvent)
        await app.store.flush()

        (letter,) = await app.store.dead_letters()

    assert flaky.tries == [1, 1, 1, 2]
    assert letter.attempts == 3
    assert "ConnectionError: not yet" in letter.error


async def test_an_error_that_is_not_worth_another_try_is_final(store):
    flaky = Flaky()
    async with shop(flaky, store, Retry(attempts=3, first=0.001, on=(TimeoutError,))) as app:
        with pytest.raises(HandlerFailedError):
            await app.command_bus.execute(Fetch(number=1, failures=1), until=FetchedEvent)

    assert flaky.tries == [1]


async def test_a_pause_between_tries_holds_no_other_handler_back():
    flaky = Flaky()
    component = Component("other")

    class Other(Command):
        """Another command."""

    class OtherDone(Event):
        """It is done."""

    async def other(command):
        return OtherDone()

    other.__annotations__ = {"command": Other, "return": OtherDone}
    component.handles(Other)(other)
    app = shop(flaky, "memory:", Retry(attempts=2, first=0.2))
    app._components = [*app._components, component]
    async with app:
        app.command_bus.dispatch(Fetch(number=1, failures=1))
        await asyncio.sleep(0.02)

        await app.command_bus.execute(Other(), until=OtherDone, timeout=0.1)

    assert flaky.tries[:1] == [1]


def test_pauses_grow_up_to_a_limit():
    retry = Retry(attempts=10, first=0.1, factor=2, longest=1.0)

    assert [retry.pause(attempt) for attempt in range(1, 7)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_a_policy_that_makes_no_sense_is_refused():
    with pytest.raises(WiringError, match="makes no sense"):
        Retry(attempts=0)
