"""Faults: one odd message, or a store that gave up, takes nothing else along."""

import asyncio
import functools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, Secret, SecretStr

from microlith import Command, Component, Envelope, Event, Microlith, Query, Response, correlated
from microlith.errors import MicrolithError, UnknownOutcomeError, UnsafePayloadError
from microlith.payloads import scrub
from microlith.serialization import MessageTypes
from tests.unit.runtime.shop import AccountOpenedEvent, OpenAccount, make_shop


@pytest.fixture(params=["memory:", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return request.param if request.param == "memory:" else f"sqlite:{tmp_path / 'events.db'}"


class Login(Command):
    """Ask to be let in."""

    password: str
    code: SecretStr


@dataclass
class Card:
    """Not a model of pydantic's."""

    pin: SecretStr


class HiddenEvent(Event):
    """Secrets in every place that is easily forgotten."""

    one_of: frozenset[SecretStr] = frozenset()
    queued: deque[SecretStr] = Field(default_factory=deque)
    card: Card | None = None
    number: Secret[int] | None = None


@pytest.mark.parametrize(
    "event",
    [
        HiddenEvent(one_of=frozenset({SecretStr("s-123")})),
        HiddenEvent(queued=deque([SecretStr("s-123")])),
        HiddenEvent(card=Card(SecretStr("s-123"))),
        HiddenEvent(number=Secret[int](123)),
    ],
)
def test_secret_comes_back_from_the_store(event: HiddenEvent):
    types = MessageTypes()
    types.add(HiddenEvent, "accounts")

    stored = types.encode(event)

    assert b"123" in stored
    assert types.decode("accounts", "HiddenEvent", 1, stored) == event


def test_secret_that_begins_like_another_is_masked_whole():
    assert scrub("it was hunter22", ["hunter", "hunter22"]) == "it was ***"


async def test_field_that_is_secret_by_name_is_masked_in_errors(store: str, caplog: pytest.LogCaptureFixture):
    accounts = Component("accounts")

    @accounts.handles(Login)
    async def login(command: Login) -> None:
        raise ValueError(f"{command.password} is wrong")

    async with Microlith("shop", [accounts], store=store) as app:
        app.command_bus.dispatch(Login(password="opensesame", code=SecretStr("4711")))
        assert await app.idle()
        (letter,) = await app.store.dead_letters()

    assert letter.error == "ValueError: *** is wrong"
    assert "opensesame" not in caplog.text


async def test_envelope_sent_twice_is_one_message(store: str):
    seen: list[str] = []
    accounts = Component("accounts")

    @accounts.handles(OpenAccount)
    async def open_account(command: OpenAccount) -> list[Envelope[AccountOpenedEvent]]:
        opened = correlated(AccountOpenedEvent(email=command.email))
        return [opened, opened]

    @accounts.handles(AccountOpenedEvent)
    async def note(event: AccountOpenedEvent) -> None:
        seen.append(event.email)

    async with Microlith("shop", [accounts], store=store) as app:
        app.command_bus.dispatch(OpenAccount(email="a@b.c"))
        assert await app.idle()

    assert seen == ["a@b.c"]


@pytest.mark.parametrize("moment", [float("nan"), float("inf"), -1.0, 1e14])
async def test_message_from_no_time_is_refused_and_the_store_goes_on(tmp_path: Path, moment: float):
    async with make_shop(store=f"sqlite:{tmp_path / 'events.db'}") as app:
        with pytest.raises(UnsafePayloadError, match="no moment"):
            await app.command_bus.dispatch(Envelope(OpenAccount(email="a@b.c"), "1", "1", None, moment))

        opened = await app.command_bus.execute(OpenAccount(email="a@b.c"), AccountOpenedEvent)

    assert opened.email == "a@b.c"


async def test_application_stops_although_its_store_writes_no_more(tmp_path: Path):
    app = make_shop(store=f"sqlite:{tmp_path / 'events.db'}")
    await app.start()
    app.store._writer.failure = UnknownOutcomeError("the disk is gone")  # type: ignore[attr-defined]

    await app.stop()

    assert app.delivery is None
    async with app:
        await app.command_bus.execute(OpenAccount(email="a@b.c"), AccountOpenedEvent)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_message_on_its_way_to_a_writer_that_ended_is_refused(tmp_path: Path):
    app = make_shop(store=f"sqlite:{tmp_path / 'events.db'}")
    await app.start()
    writer = app.store._writer  # type: ignore[attr-defined]

    def broken(*_: Any) -> Any:
        raise RuntimeError("a fault of the store")

    writer._transact_writes = broken
    first = app.command_bus.dispatch(OpenAccount(email="a@b.c"))
    writer._items.hand_over()
    second = app.command_bus.dispatch(OpenAccount(email="b@b.c"))
    writer._thread.join(5)

    async with asyncio.timeout(5):
        for receipt in (first, second):
            with pytest.raises(MicrolithError):
                await receipt
    await app.stop()


async def test_tracer_leaves_out_what_cannot_be_shown(store: str):
    class Answer(Response):
        value: Any = None

    class Ask(Query[Answer]):
        value: Any = None

    asking = Component("asking")

    @asking.handles(Ask)
    async def answer(query: Ask) -> Answer:
        return Answer(value=1)

    async with Microlith("shop", [asking], store=store) as app:
        follower = app.tracer.follow()
        await app.query_bus.ask(Ask(value=object()))
        await app.query_bus.ask(Ask(value="plain"))
        app.tracer.flush()
        shown = [fact["type"] for fact in follower.take()]

    assert shown == [
        *("microlith.handled", "Answer"),
        *("Ask", "microlith.handled", "Answer"),
        "microlith.dropped",
    ]


async def test_receipt_refuses_to_block_the_loop_it_needs():
    async with make_shop() as app:
        receipt = app.command_bus.dispatch(OpenAccount(email="a@b.c"))

        with pytest.raises(MicrolithError, match="block for ever"):
            receipt.result(1)


async def test_async_decorator_around_a_plain_function_is_awaited(store: str):
    seen: list[str] = []
    accounts = Component("accounts")

    def in_a_task(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def wrapped(command: OpenAccount) -> Any:
            return function(command)

        return wrapped

    @accounts.handles(OpenAccount)
    @in_a_task
    def open_account(command: OpenAccount) -> None:
        seen.append(command.email)

    async with Microlith("shop", [accounts], store=store) as app:
        app.command_bus.dispatch(OpenAccount(email="a@b.c"))
        assert await app.idle()

    assert seen == ["a@b.c"]
