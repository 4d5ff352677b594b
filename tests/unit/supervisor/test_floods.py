"""A dispatch that waits until all is quiet, while more happens than the tracer can tell."""

import asyncio

import pytest_asyncio

from microlith import Command, Component, Event, EventBus, Microlith
from microlith_cli.supervisor.worker import Worker

MANY = 12_000
"""More facts than the tracer keeps between two looks."""


class Flood(Command):
    number: int
    fails: bool = False


class Drop(Event):
    number: int
    fails: bool = False


@pytest_asyncio.fixture
async def flooded():
    """A worker whose handler sends many events, and how many of them were handled."""
    desk = Component("desk")
    handled: list[int] = []

    @desk.handles(Flood)
    async def flood(command: Flood, events: EventBus) -> None:
        for number in range(command.number):
            sent = events.dispatch(Drop(number=number, fails=command.fails and number == command.number - 1))
            if number == command.number - 1:
                await sent

    @desk.handles(Drop)
    async def drop(event: Drop) -> None:
        handled.append(event.number)
        if event.fails:
            raise ValueError("the last one")

    worker = Worker(Microlith("flood", [desk], store="memory:"))
    await worker.start()
    yield worker, handled
    await worker.stop(1.0)


async def asked(worker: Worker, data: dict, **more: object) -> list[dict]:
    lines: list[dict] = []
    request = {"id": 1, "verb": "dispatch", "type": "Flood", "data": data, "quiet_for": 0.05, "timeout": 30}
    await asyncio.wait_for(worker.handle(request | more, lines.append), 40)
    return lines


async def test_quiet_is_found_although_facts_were_dropped(flooded):
    worker, handled = flooded

    lines = await asked(worker, {"number": MANY})

    assert lines[-1]["exit"] == 0
    assert len(handled) == MANY


async def test_failure_is_told_although_the_fact_about_it_may_be_dropped(flooded):
    worker, _ = flooded

    lines = await asked(worker, {"number": MANY, "fails": True})

    assert (lines[-1]["exit"], lines[-1]["error"]["type"]) == (1, "HandlerFailedError")
    assert "the last one" in lines[-1]["error"]["message"]


async def test_whoever_is_shown_the_facts_is_told_how_many_were_dropped(flooded):
    worker, _ = flooded

    lines = await asked(worker, {"number": MANY}, trace=True)

    facts = [line["fact"] for line in lines if "fact" in line]
    dropped = sum(fact["data"]["count"] for fact in facts if fact["type"] == "microlith.dropped")
    assert dropped > 0
    assert sum(fact["type"] != "microlith.dropped" for fact in facts) + dropped == 2 * (MANY + 1)


async def test_quiet_is_waited_for_also_by_who_was_left_by_an_earlier_worker(flooded):
    worker, handled = flooded
    began = asyncio.get_running_loop().time()

    lines = await asked(
        worker, {"number": 1}, message_id="0190b6f4-7c1e-7a31-8d57-3f6f6c2f1a10", accepted=False, quiet_for=0.2
    )

    assert lines[-1] == {"id": 1, "end": True, "exit": 0}
    assert handled == [0]
    assert asyncio.get_running_loop().time() - began >= 0.2
