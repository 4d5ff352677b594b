"""Snapshots of states that old events are read into through upcasters."""

from typing import Any

from microlith import Aggregate, Command, Component, Event, Microlith, decides, evolves
from microlith.event_store.event_copy import EventCopy
from tests.unit.runtime.test_snapshots import streams_of, until_kept


class Weighed(Event, version=2):
    """Once in pounds, now in grams."""

    grams: int


class Weigh(Command):
    """Put something on a scale."""

    scale: str
    grams: int


def scales(store: str, grams_a_pound: int) -> Microlith:
    """Declare scales whose first events were in pounds, and are read through an upcaster."""

    class Scale(Aggregate, stream="scale-{scale}", snapshot_every=2):
        total: int = 0

        @decides
        def weigh(self, command: Weigh) -> Weighed:
            return Weighed(grams=command.grams)

        @evolves
        def weighed(self, event: Weighed) -> None:
            self.total += event.grams

    component = Component("scales")
    component.aggregate(Scale)
    if grams_a_pound == 500:

        @component.upcasts(Weighed, version=1)
        def rounded(old: dict[str, Any]) -> dict[str, Any]:
            return {"grams": old["pounds"] * 500}

    else:

        @component.upcasts(Weighed, version=1)
        def exact(old: dict[str, Any]) -> dict[str, Any]:
            return {"grams": old["pounds"] * 454}

    return Microlith("scales", [component], store=store)


async def test_a_snapshot_that_was_folded_through_another_upcaster_is_dropped(tmp_path):
    url = f"sqlite:{tmp_path}/events.db"
    old = EventCopy("scales", "Weighed", 1, "scale-a", 0, "m-0", "m-0", None, 1, 1, None, b'{"pounds":2}')
    async with scales(url, 500) as app:
        await app.store.restore([old, old._replace(stream_position=1, message_id="m-1")])
        for grams in (1, 1):
            await app.command_bus.execute(Weigh(scale="a", grams=grams), until=Weighed)
        await until_kept(app, stream="scale-a", owner="Scale")

    async with scales(url, 500) as app:
        decider = app.wire().components[0].deciders[0]
        _, _, known = await streams_of(app).load_on(decider, "scale-a")
    async with scales(url, 454) as app:
        decider = app.wire().components[0].deciders[0]
        state, _, begun = await streams_of(app).load_on(decider, "scale-a")

    assert known >= 2
    assert (state.total, begun) == (4 * 454 + 2, -1)
