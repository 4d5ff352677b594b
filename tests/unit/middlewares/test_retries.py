"""Retrying: who tries again, and who does not."""

import pytest

from microlith import Command, Component, Event, HandlerFailedError, Microlith, Query, Response, Retry
from microlith.errors import WiringError
from microlith.middleware import Middleware
from microlith.middlewares import Retrying


class Work(Command):
    fails: int


class Other(Command):
    fails: int


class Done(Event):
    tries: int


class Answer(Response):
    tries: int


class Ask(Query[Answer]):
    fails: int


class Desk:
    """Fails as often as a message says, and counts."""

    def __init__(self, *middleware: Middleware, own: Retry | None = None) -> None:
        self.tries = 0
        desk = Component("desk")
        for message in (Work, Other):

            @desk.handles(message, retry=own)
            async def work(command: message) -> Done:  # type: ignore[valid-type]  # a class of the loop
                return Done(tries=self._try(command))

            work.__name__ = message.__name__

        @desk.handles(Ask)
        async def ask(query: Ask) -> Answer:
            return Answer(tries=self._try(query))

        for spec, name in zip(desk.handlers, ("desk.work", "desk.other", "desk.ask"), strict=True):
            spec.name = name
        self.app = Microlith("desk", [desk], store="memory:", middleware=middleware)

    def _try(self, message):
        self.tries += 1
        if self.tries <= message.fails:
            raise ConnectionError("down")
        return self.tries


QUICK = Retry(4, first=0.001)


async def test_handlers_without_a_policy_try_again():
    desk = Desk(Retrying(QUICK))
    async with desk.app as app:
        assert (await app.command_bus.execute(Work(fails=3), until=Done)).tries == 4


async def test_after_the_last_try_the_message_is_a_dead_letter():
    desk = Desk(Retrying(QUICK))
    async with desk.app as app:
        with pytest.raises(HandlerFailedError):
            await app.command_bus.execute(Work(fails=9), until=Done)
        (letter,) = await app.store.dead_letters()

    assert (desk.tries, letter.attempts) == (4, 4)


async def test_a_policy_of_the_handler_comes_first():
    desk = Desk(Retrying(QUICK), own=Retry(2, first=0.001))
    async with desk.app as app:
        with pytest.raises(HandlerFailedError):
            await app.command_bus.execute(Work(fails=9), until=Done)

    assert desk.tries == 2


async def test_only_the_types_that_are_named_try_again():
    desk = Desk(Retrying(QUICK, Other))
    async with desk.app as app:
        with pytest.raises(HandlerFailedError):
            await app.command_bus.execute(Work(fails=1), until=Done)
        desk.tries = 0
        assert (await app.command_bus.execute(Other(fails=1), until=Done)).tries == 2


async def test_the_outermost_middleware_that_has_a_policy_decides():
    desk = Desk(Retrying(Retry(2, first=0.001), Work), Retrying(QUICK))
    async with desk.app as app:
        with pytest.raises(HandlerFailedError):
            await app.command_bus.execute(Work(fails=9), until=Done)

    assert desk.tries == 2


async def test_queries_are_tried_again_only_when_they_are_named():
    plain, named = Desk(Retrying(QUICK)), Desk(Retrying(QUICK, Ask))
    async with plain.app as app:
        with pytest.raises(HandlerFailedError):
            await app.query_bus.ask(Ask(fails=1))
    async with named.app as app:
        assert (await app.query_bus.ask(Ask(fails=1))).tries == 2


def test_what_is_no_message_type_is_refused():
    with pytest.raises(WiringError, match="no message type"):
        Retrying(QUICK, int)  # type: ignore[arg-type]  # as a mistake would have it
