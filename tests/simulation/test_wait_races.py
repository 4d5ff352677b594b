"""An event, a timeout and a cancellation that come at about the same moment: one of them ends the wait.

10,000 races; `MICROLITH_SEEDS=10000 python -m pytest tests/simulation/test_wait_races.py --timeout 0` runs a million.
"""

import asyncio

from microlith import Component, Event, Microlith, WaitTimeout, correlated
from microlith.testing.simulation import Faults, World, simulated

RACES = 100
AT = 0.2
"""About when everything happens, in seconds."""


class RaceWonEvent(Event):
    """The one that is waited for."""


def make_track() -> Microlith:
    track = Component("track")

    @track.handles(RaceWonEvent)
    async def cheer(_: RaceWonEvent) -> None:
        """Do nothing: somebody must declare it."""

    return Microlith("track", [track])


APP = make_track()
OUTCOMES: dict[str, int] = {}


async def race(world: World) -> str:
    """Race once, and return what won."""
    chance, bus = world.random, world.app.event_bus
    envelope = correlated(RaceWonEvent())
    timeout = AT + chance.uniform(-0.01, 0.01)
    waiting = asyncio.create_task(bus.wait_for(envelope.correlation_id, RaceWonEvent, timeout))
    loop = asyncio.get_running_loop()
    ended: list[str] = []
    waiting.add_done_callback(lambda _: ended.append("once"))
    loop.call_later(AT + chance.uniform(-0.02, 0.01), bus.dispatch, envelope)
    if chance.random() < 0.5:
        loop.call_later(AT + chance.uniform(-0.01, 0.02), waiting.cancel)
    try:
        outcome = "event" if isinstance(await waiting, RaceWonEvent) else "nothing"
    except WaitTimeout:
        outcome = "timeout"
    except asyncio.CancelledError:
        outcome = "cancelled"
    await asyncio.sleep(0.001)
    assert ended == ["once"]
    # Whoever won: the event is not lost to the next one who waits.
    assert isinstance(await bus.wait_for(envelope.correlation_id, RaceWonEvent), RaceWonEvent)
    return outcome


@simulated(APP, seeds=100, faults=Faults(delay=0.01))
async def many_races(world: World) -> None:
    """Race a hundred times at once."""
    for outcome in await asyncio.gather(*(race(world) for _ in range(RACES))):
        OUTCOMES[outcome] = OUTCOMES.get(outcome, 0) + 1
    assert world.app.waits == 0


def test_a_wait_ends_in_exactly_one_way_and_loses_nothing():
    many_races()

    assert sum(OUTCOMES.values()) >= RACES
    assert set(OUTCOMES) == {"event", "timeout", "cancelled"}
    assert min(OUTCOMES.values()) > sum(OUTCOMES.values()) / 20
