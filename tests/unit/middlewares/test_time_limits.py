"""Timeout: limits by message type, beside those of the handlers."""

import asyncio

import pytest

from microlith import Command, Component, Event, HandlerFailedError, Microlith, WiringError
from microlith.middlewares import TimeLimitError, Timeout


class Work(Command):
    seconds: float = 0.0
    raises: bool = False


class HardWork(Work):
    pass


class Other(Command):
    seconds: float


class Worked(Event):
    pass


def make_app(*middleware):
    factory = Component("factory")

    async def done(command) -> Worked:
        if getattr(command, "raises", False):
            raise TimeoutError("of my own")
        await asyncio.sleep(command.seconds)
        return Worked()

    @factory.handles(Work)
    async def work(command: Work) -> Worked:
        return await done(command)

    @factory.handles(HardWork)
    async def hard_work(command: HardWork) -> Worked:
        return await done(command)

    @factory.handles(Other)
    async def other(command: Other) -> Worked:
        return await done(command)

    return Microlith("app", [factory], store="memory:", middleware=middleware)


@pytest.mark.parametrize("cls", [Work, HardWork])
async def test_a_handling_over_the_limit_of_its_type_is_cancelled(cls):
    async with make_app(Timeout({Work: 0.02})) as app:
        with pytest.raises(HandlerFailedError, match=f"longer than 0.02 s, the limit of {cls.__name__}") as caught:
            await app.command_bus.execute(cls(seconds=30), until=Worked)
        assert isinstance(caught.value.__cause__, TimeLimitError)
        handlings = app.tracer.handlings_of([letter.correlation_id for letter in await app.store.dead_letters()])

    assert [one.outcome for each in handlings.values() for one in each] == ["timeout"]


async def test_the_nearest_class_counts_and_the_default_is_for_the_others():
    async with make_app(Timeout({Work: 0.02, HardWork: 10}, default=0.03)) as app:
        await app.command_bus.execute(HardWork(seconds=0.05), until=Worked)
        with pytest.raises(HandlerFailedError, match=r"0.03 s, the limit of Other"):
            await app.command_bus.execute(Other(seconds=30), until=Worked)


async def test_without_a_limit_nothing_is_limited_and_the_lane_goes_on_after_one():
    async with make_app(Timeout({Work: 0.02})) as app:
        await app.command_bus.execute(Other(seconds=0.05), until=Worked)
        with pytest.raises(HandlerFailedError):
            await app.command_bus.execute(Work(seconds=30), until=Worked)
        await app.command_bus.execute(Work(), until=Worked)


async def test_a_timeout_error_of_the_handler_stays_its_own():
    async with make_app(Timeout({Work: 5})) as app:
        with pytest.raises(HandlerFailedError, match="TimeoutError: of my own"):
            await app.command_bus.execute(Work(raises=True), until=Worked)


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_limit_that_makes_no_sense_is_refused(limit):
    with pytest.raises(WiringError, match="time limit of Work"):
        Timeout({Work: limit})
    with pytest.raises(WiringError, match="time limit of default"):
        Timeout({}, default=limit)
