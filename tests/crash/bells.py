"""The application that is killed around the moments when something is due: a bell that rings later makes an event.

Each bell is asked for in one of three ways: as a command, as an event, and by the handler of another command.
"""

import asyncio
import os
import sys
from datetime import timedelta

from microlith import Command, Component, Event, Microlith, Scheduled
from microlith.event_store.protocol import TimedUnit
from tests.crash.bank import say


class Ring(Command):
    """Ring a bell."""

    bell: int


class RungEvent(Event):
    """A bell rang."""

    bell: int


class TimeUpEvent(Event):
    """It is time for a bell."""

    bell: int


class Wind(Command):
    """Have a bell ring in a while."""

    bell: int
    seconds: float


def make_tower(directory: str) -> Microlith:
    """Declare the application on a SQLite store in a directory."""
    tower = Component("tower")

    @tower.handles(Wind)
    async def wind(command: Wind) -> Scheduled[Ring]:
        return Scheduled(Ring(bell=command.bell), after=timedelta(seconds=command.seconds), name=f"bell {command.bell}")

    @tower.handles(Ring)
    async def ring(command: Ring) -> RungEvent:
        return RungEvent(bell=command.bell)

    @tower.handles(TimeUpEvent)
    async def time_up(event: TimeUpEvent) -> RungEvent:
        return RungEvent(bell=event.bell)

    return Microlith("tower", [tower], store=f"sqlite:{directory}/events.db")


def take_in_two_commits(app: Microlith) -> None:
    """The planted bug: the end of the schedule is committed before its message is accepted."""
    complete, store = app.store.complete, app.store

    def planted(unit, done) -> None:
        if unit.takes is None:
            complete(unit, done)
            return

        async def in_two() -> None:
            await store.cancel_schedule(unit.takes)
            complete(TimedUnit(unit.envelopes), done)

        app.planted = asyncio.ensure_future(in_two())  # type: ignore[attr-defined]

    store.complete = planted  # type: ignore[method-assign]


async def run_under_load(directory: str, first: int, *, in_two: bool) -> None:
    """Have bells ring a moment later, as many as it goes, until killed. Bounded, should nobody kill it."""
    async with make_tower(directory) as app:
        if in_two:
            take_in_two_commits(app)
        say("open", first)
        for bell in range(first, first + 5_000):
            say("try", bell)
            seconds = bell % 7 / 100
            match bell % 3:
                case 0:
                    await app.command_bus.dispatch(Ring(bell=bell), after=seconds)
                case 1:
                    await app.event_bus.dispatch(TimeUpEvent(bell=bell), after=seconds)
                case _:
                    await app.command_bus.dispatch(Wind(bell=bell, seconds=seconds))
            say("ack", bell)


def serve() -> None:
    """Fork a process under load for each line of standard input: FIRST early|late."""
    directory = sys.argv[1]
    for line in sys.stdin:
        first, mode = line.split()
        pid = os.fork()
        if pid == 0:
            asyncio.run(run_under_load(directory, int(first), in_two=mode == "early"))
            os._exit(0)
        say("pid", pid)
        os.waitpid(pid, 0)
        say("gone", pid)


if __name__ == "__main__":
    serve()
