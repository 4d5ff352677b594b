"""An event whose class no longer fits what was stored: one handler stops, and nothing else."""

from types import new_class
from typing import Any

from microlith import Component, Event, Microlith


def shape_with(**fields: type) -> type[Any]:
    """Make the class `Shape` with these fields."""
    return new_class("Shape", (Event,), {}, lambda body: body.update({"__annotations__": fields}))


class OtherEvent(Event):
    """Something else in the same log."""


def shop_of(shape: type[Event], store: str, seen: list[Event]) -> Microlith:
    """Declare two handlers, one of them for an event whose class may change."""
    component = Component("shop")

    def note_shape(event: Event) -> None:
        seen.append(event)

    def note_other(event: Event) -> None:
        seen.append(event)

    note_shape.__annotations__["event"] = shape
    note_other.__annotations__["event"] = OtherEvent
    component.handles(shape)(note_shape)
    component.handles(OtherEvent)(note_other)
    return Microlith("shop", [component], store=store)


async def test_an_event_that_no_longer_fits_stops_its_handler_only_and_holds_nothing_up(tmp_path, caplog):
    store, seen = f"sqlite:{tmp_path}/events.db", []
    stored, changed = shape_with(size=int), shape_with(colour=str)
    async with shop_of(stored, store, seen) as app:
        for lane in app.delivery.routes.lanes() if app.delivery else []:
            lane.close()
        await app.event_bus.dispatch(stored(size=1))
        await app.stop(drain=0)

    async with shop_of(changed, store, seen) as app:
        await app.event_bus.dispatch(OtherEvent())
        idle = await app.idle(timeout=3)

    assert idle
    assert seen == [OtherEvent()]
    assert "shop.note_shape handles no more events: after position -1" in caplog.text
