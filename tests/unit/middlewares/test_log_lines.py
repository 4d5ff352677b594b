"""Logging: one line each, with ids, outcome and time; no secret, no line break."""

import json
import logging
from typing import Annotated

import pytest
from pydantic import SecretStr

from microlith import Command, Component, Event, HandlerFailedError, Microlith, Personal, Retry
from microlith.middlewares import Logging


class Login(Command):
    email: str
    password: SecretStr
    fails: bool = False


class Move(Command):
    user_id: str
    city: Annotated[str, Personal("user_id")]


class LoggedIn(Event):
    email: str


def make_shop(retry=None, **options):
    auth = Component("auth")

    @auth.handles(Login, retry=retry)
    async def login(command: Login) -> LoggedIn:
        if command.fails:
            raise ValueError(f"no user\nwith {command.password.get_secret_value()!r}\x1b[2J")
        return LoggedIn(email=command.email)

    return Microlith("shop", [auth], store="memory:", middleware=[Logging(**options)])


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.DEBUG, "microlith.messages")
    return lambda: [record for record in caplog.records if record.name == "microlith.messages"]


async def test_one_line_for_each_message_sent_and_each_handling_with_its_ids(lines):
    async with make_shop() as app:
        receipt = app.command_bus.dispatch(Login(email="a@b.c", password=SecretStr("hunter22")))
        await app.event_bus.wait_for(receipt.correlation_id, LoggedIn)

    sent, handled, followed = [record.microlith for record in lines()]
    assert (sent["what"], sent["type"], sent["kind"], sent["message_id"]) == (
        "sent",
        "Login",
        "command",
        receipt.message_id,
    )
    assert (handled["what"], handled["handler"], handled["outcome"], handled["attempt"]) == (
        "handled",
        "auth.login",
        "ok",
        1,
    )
    assert handled["ms"] >= 0
    assert (followed["what"], followed["type"], followed["causation_id"]) == ("sent", "LoggedIn", receipt.message_id)
    assert {record.microlith["correlation_id"] for record in lines()} == {receipt.correlation_id}
    assert {record.levelno for record in lines()} == {logging.INFO}


async def test_a_failure_is_one_line_of_its_own_level_without_the_secret(lines):
    async with make_shop(failures=logging.CRITICAL, fields=True) as app:
        with pytest.raises(HandlerFailedError):
            await app.command_bus.execute(
                Login(email="a@b.c", password=SecretStr("hunter22"), fails=True), until=LoggedIn
            )

    failed = lines()[-1]
    assert (failed.levelno, failed.microlith["outcome"]) == (logging.CRITICAL, "failed")
    assert failed.microlith["error"].startswith("ValueError: no user")
    for record in lines():
        assert "hunter22" not in record.getMessage() + json.dumps(record.microlith)
        assert record.getMessage().isprintable()


async def test_personal_fields_are_not_shown_either(lines):
    people = Component("people")

    @people.handles(Move)
    async def move(command: Move) -> None:
        raise ValueError(f"nobody moves to {command.city}")

    async with Microlith("app", [people], store="memory:", middleware=[Logging(fields=True)]) as app:
        app.command_bus.dispatch(Move(user_id="7", city="Timbuktu"))
        await app.idle()

    assert [record.microlith["what"] for record in lines()] == ["sent", "handled"]
    assert lines()[1].microlith["error"] == "ValueError: nobody moves to ***"
    assert "Timbuktu" not in " ".join(record.getMessage() for record in lines())


async def test_each_try_has_its_line(lines):
    async with make_shop(retry=Retry(3, first=0)) as app:
        with pytest.raises(HandlerFailedError):
            await app.command_bus.execute(Login(email="a", password=SecretStr("hunter22"), fails=True), until=LoggedIn)

    tried = [record.microlith["attempt"] for record in lines() if record.microlith["what"] == "handled"]
    assert tried == [1, 2, 3]


async def test_fields_are_logged_when_asked_for_and_masked(lines):
    async with make_shop(fields=True, level=logging.DEBUG) as app:
        await app.command_bus.execute(Login(email="a@b.c", password=SecretStr("hunter22")), until=LoggedIn)

    assert lines()[0].microlith["fields"] == {"email": "a@b.c", "password": "***", "fails": False}
    assert lines()[0].levelno == logging.DEBUG


async def test_a_logger_that_is_off_costs_no_line(caplog):
    caplog.set_level(logging.WARNING, "quiet")
    async with make_shop(logger=logging.getLogger("quiet")) as app:
        await app.command_bus.execute(Login(email="a@b.c", password=SecretStr("hunter22")), until=LoggedIn)

    assert [record for record in caplog.records if record.name == "quiet"] == []
