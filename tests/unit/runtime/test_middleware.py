"""Middleware: around every dispatch and every handling, in order, and able to refuse."""

import pytest

from microlith import Command, Component, Event, HandlerFailedError, Microlith, Middleware, Retry
from tests.unit.runtime.shop import (
    AccountCountRequest,
    AccountOpenedEvent,
    FailCommand,
    OpenAccount,
    WelcomeSentEvent,
    make_shop,
)


class Restless(Command):
    """Rest, or fail to."""

    fails: bool = False


class Rested(Event):
    """Somebody has rested."""


class Notes(Middleware):
    """Writes down what passes."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    def dispatching(self, envelope):
        self.notes.append(f"{self.name} sends {type(envelope.message).__name__}")
        return envelope

    async def handling(self, envelope, proceed):
        self.notes.append(f"{self.name} begins {type(envelope.message).__name__}")
        try:
            return await proceed()
        finally:
            self.notes.append(f"{self.name} ends {type(envelope.message).__name__}")


class Headers(Middleware):
    """Adds a header to what is sent."""

    def dispatching(self, envelope):
        return envelope.with_headers({**(envelope.headers or {}), "tenant": "north"})


class Refusing(Middleware):
    """Refuses one type when it is sent, and another when it is handled."""

    def dispatching(self, envelope):
        if isinstance(envelope.message, FailCommand):
            raise PermissionError("not you")
        return envelope

    async def handling(self, envelope, proceed):
        if isinstance(envelope.message, AccountCountRequest):
            raise PermissionError("nor that")
        return await proceed()


async def test_the_first_middleware_is_the_outermost():
    notes: list[str] = []
    async with make_shop(middleware=[Notes("outer", notes), Notes("inner", notes)]) as app:
        await app.query_bus.ask(AccountCountRequest())

    assert notes == [
        "outer sends AccountCountRequest",
        "inner sends AccountCountRequest",
        "outer begins AccountCountRequest",
        "inner begins AccountCountRequest",
        "inner ends AccountCountRequest",
        "outer ends AccountCountRequest",
    ]


async def test_what_handlers_return_and_send_from_threads_passes_too():
    notes: list[str] = []
    async with make_shop(middleware=[Notes("it", notes)]) as app:
        await app.command_bus.execute(OpenAccount(email="a@b.c"), until=WelcomeSentEvent)

    sent = [note for note in notes if "sends" in note]
    assert sent == ["it sends OpenAccount", "it sends AccountOpenedEvent", "it sends WelcomeSentEvent"]


@pytest.mark.parametrize("store", ["memory:", "sqlite:{}/events.db"])
async def test_headers_are_stored_and_reach_the_handlers_of_what_follows(store, tmp_path):
    async with make_shop(store=store.format(tmp_path), middleware=[Headers()]) as app:
        receipt = app.command_bus.dispatch(OpenAccount(email="a@b.c"))
        await app.event_bus.wait_for(receipt.correlation_id, WelcomeSentEvent)

        events = await app.store.read_correlation(receipt.correlation_id)

    assert [event.headers for event in events] == [{"tenant": "north"}] * 2


async def test_a_refusal_when_sending_reaches_the_sender_and_nothing_is_recorded():
    async with make_shop(middleware=[Refusing()]) as app:
        with pytest.raises(PermissionError, match="not you"):
            app.command_bus.dispatch(FailCommand(text="x"))

        assert await app.store.pending_commands() == []


async def test_a_refusal_when_handling_is_the_handlers_failure():
    async with make_shop(middleware=[Refusing()]) as app:
        with pytest.raises(HandlerFailedError, match="PermissionError: nor that"):
            await app.query_bus.ask(AccountCountRequest())

        assert (await app.command_bus.execute(OpenAccount(email="a@b.c"), until=AccountOpenedEvent)).email == "a@b.c"


async def test_what_becomes_of_a_handling_is_told_for_each_try_and_cannot_be_disturbed(caplog):
    told: list[tuple[str, int, str, str]] = []

    class Listening(Middleware):
        def settled(self, handling, error):
            told.append((handling.handler, handling.attempt, handling.outcome, type(error).__name__))
            raise RuntimeError("no ear for that")

    shaky = Component("shaky")

    @shaky.handles(Restless, retry=Retry(2, first=0.001))
    async def rest(command: Restless) -> Rested | None:
        if command.fails:
            raise ValueError("not now")
        return Rested()

    async with Microlith("shop", [shaky], store="memory:", middleware=[Listening()]) as app:
        await app.command_bus.execute(Restless(), until=Rested)
        with pytest.raises(HandlerFailedError):
            await app.command_bus.execute(Restless(fails=True), until=Rested)

    assert told == [
        ("shaky.rest", 1, "ok", "NoneType"),
        ("shaky.rest", 1, "retried", "ValueError"),
        ("shaky.rest", 2, "failed", "ValueError"),
    ]
    assert caplog.text.count("A middleware could not take in what came of shaky.rest") == 3
