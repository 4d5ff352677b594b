"""What must hold after every simulation, whatever the scenario was.

Reads the disk and the history; each broken promise is one sentence.
"""

from collections.abc import Iterator
from typing import Any

from microlith.application import Microlith
from microlith.event_store.protocol import RecordedEvent
from microlith.ids import short_id
from microlith.testing.simulation.history import History
from microlith.testing.simulation.world import World

_ALL = 1_000_000


async def examine(world: World) -> None:
    """Note every promise that does not hold. The application is idle, and still running."""
    log = await world.disk.read_all(limit=_ALL)
    pending = {one.envelope.message_id: one.envelope for one in await world.disk.pending_commands(limit=_ALL)}
    history = world.history
    broken = [
        *_lost(history, log, pending),
        *_misplaced(history, log),
        *_unhandled(world.app, history, log, pending),
        *_out_of_order(world.app, history),
        *_left_over(world.app),
        *[problem async for problem in _letters(world)],
        *[problem async for problem in _projections(world)],
    ]
    for problem in broken:
        history.violated(problem)


def _named(envelope: Any) -> str:
    return f"{type(envelope.message).__name__} {short_id(envelope.message_id)}"


def _lost(history: History, log: list[RecordedEvent], pending: dict[str, Any]) -> Iterator[str]:
    """Nothing acknowledged is lost."""
    logged = {event.message_id for event in log}
    for message_id, envelope in history.acknowledged.items():
        kind = envelope.message.__kind__
        if kind == "event" and message_id not in logged:
            yield f"{_named(envelope)} was acknowledged and is not in the log."
        if kind == "command" and message_id not in pending and ("", message_id) not in history.settled:
            yield f"{_named(envelope)} was acknowledged and is neither pending nor settled."


def _misplaced(history: History, log: list[RecordedEvent]) -> Iterator[str]:
    """Nothing is invented or there twice; positions have no gaps, and follow the commits."""
    streams: dict[str, int] = {}
    seen: set[str] = set()
    for number, event in enumerate(log):
        if event.position != number:
            yield f"The event at place {number} of the log has position {event.position}."
        if event.stream_position != streams.get(event.stream, 0):
            yield f"{event.type} {short_id(event.message_id)} has stream position {event.stream_position}."
        streams[event.stream] = event.stream_position + 1
        if event.message_id in seen:
            yield f"{event.type} {short_id(event.message_id)} is in the log twice."
        seen.add(event.message_id)
        sent = history.envelopes.get(event.message_id)
        if sent is None or event.message_id not in history.committed:
            yield f"{event.type} {short_id(event.message_id)} is in the log, and nobody sent it."
        elif event.message != sent.message or event.causation_id != sent.causation_id:
            yield f"{event.type} {short_id(event.message_id)} is not what was sent."
        if event.causation_id is not None and event.causation_id not in history.envelopes:
            yield f"{event.type} {short_id(event.message_id)} was caused by a message that never was."
    committed = [message_id for message_id in history.committed if message_id in seen]
    if committed != [event.message_id for event in log]:
        yield "The order of the log is not the order of the commits."


def _unhandled(app: Microlith, history: History, log: list[RecordedEvent], pending: dict[str, Any]) -> Iterator[str]:
    """What was accepted is handled, by each of its handlers."""
    for envelope in pending.values():
        yield f"{_named(envelope)} is still pending."
    for spec in app.wire().handlers:
        if spec.message.__kind__ == "event":
            name = spec.message.__name__
            for event in log:
                if event.type == name and (spec.name, event.message_id) not in history.settled:
                    yield f"{name} {short_id(event.message_id)} was never handled by {spec.name}."


def _out_of_order(app: Microlith, history: History) -> Iterator[str]:
    """A handler that takes one message at a time takes them in the order of the commits."""
    if history.refused:
        return  # what a refused commit leaves behind is handled after the next start, later than what followed it
    place = {message_id: number for number, message_id in enumerate(history.committed)}
    for spec in app.wire().handlers:
        if spec.concurrency != 1 or spec.message.__kind__ == "query":
            continue
        owner = spec.name if spec.message.__kind__ == "event" else ""
        last = -1
        for (handler, message_id), settlement in history.settled.items():
            if handler == owner and type(settlement.envelope.message) is spec.message:
                if place.get(message_id, -1) < last:
                    yield f"{spec.name} handled {_named(settlement.envelope)} after a later message."
                last = max(last, place.get(message_id, -1))


def _left_over(app: Microlith) -> Iterator[str]:
    """Nothing is left of any wait, and nothing in any lane."""
    delivery = app.delivery
    if delivery is None:
        yield "The application does not run any more."
        return
    waits = delivery.waits
    if len(waits) or waits.watched or waits._questions or waits._buckets:  # noqa: SLF001 (the places a wait has)
        yield f"{len(waits)} waits are left, and nobody waits."
    for lane in delivery.routes.lanes():
        if lane.queue or lane.busy or lane.senders:
            yield f"{lane.name} has {len(lane.queue)} messages left."


async def _letters(world: World) -> Any:
    """Each failure is a dead letter with its error and its tries, until it is dropped or goes well."""
    history = world.history
    letters = {(one.handler, one.message_id): one for one in await world.disk.dead_letters(limit=_ALL)}
    failed = {
        (settlement.handler, message_id): settlement
        for (_, message_id), settlement in history.settled.items()
        if settlement.error is not None
    }
    for (handler, message_id), settlement in failed.items():
        if (handler, message_id) not in letters and (handler, message_id) not in history.letters_gone:
            yield f"{_named(settlement.envelope)} failed in {handler}, and there is no dead letter of it."
    for (handler, message_id), letter in letters.items():
        if (handler, message_id) not in failed:
            yield f"There is a dead letter of {letter.type} {short_id(message_id)}, which never failed in {handler}."
        elif letter.attempts < failed[handler, message_id].attempts or not letter.error:
            yield f"The dead letter of {letter.type} {short_id(message_id)} does not tell its tries or its error."


async def _projections(world: World) -> Any:
    """Each projection that has not stopped has the rows that a fresh fold of the log makes."""
    for state in await world.disk.projection_states():
        if state.error is None:
            rebuilt = await world.disk.rebuild(state.name, lambda _read, _all: None)
            if rebuilt.before != rebuilt.after:
                yield f"The rows of projection {state.name} differ from a fresh fold of the log."
