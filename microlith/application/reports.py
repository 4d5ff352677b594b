"""Reports: what a wait that ran out of time is told about its correlation."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from time import monotonic, time
from typing import Any, TypeVar

from microlith.application.wiring import Wiring
from microlith.context import Handling
from microlith.delivery import Delivery
from microlith.envelope import Envelope
from microlith.errors import WaitTimeout
from microlith.handlers.lanes import Lane
from microlith.messages import Event, Message, Query, response_type
from microlith.waits import Wait, question_key

T = TypeVar("T")

_LOOKED_THROUGH = 10_000
"""Messages of a queue that are looked through for those of a correlation."""


def explain_timeouts(delivery: Delivery, wiring: Wiring, waits: list[Wait]) -> list[BaseException]:
    """Make the error for each of some waits that expired together: what arrived, ran, runs, waits, and is missing."""
    correlations = {wait.correlation_id for wait in waits}
    ran = delivery.tracer.handlings_of(correlations)
    sent = delivery.tracer.messages_of(correlations)
    running = running_handlers(delivery, correlations)
    queues, away = _Queues(delivery), _brokers_away(delivery)
    errors: list[BaseException] = []
    for wait in waits:
        watched = delivery.waits.watched[wait.correlation_id]
        envelopes = _each_once(sent.get(wait.correlation_id, ()), watched.sent, lambda one: one.message_id)
        missing = wait.missing or _response_wanted(wait, envelopes)
        handled = _each_once(ran.get(wait.correlation_id, ()), watched.handled, id)
        at_work = running.get(wait.correlation_id, [])
        report = {
            "arrived": [type(envelope.message).__name__ for envelope in envelopes],
            "ran": [{"handler": h.handler, "outcome": h.outcome, "ms": (h.ended - h.started) * 1000} for h in handled],
            "running": at_work,
            "waiting": queues.of(envelopes, handled, at_work),
            "missing": [cls.__name__ for cls in missing],
            "could_emit": {cls.__name__: list(wiring.emits.get(cls, ())) for cls in missing},
            "elsewhere": _components_elsewhere(delivery, wiring, envelopes, missing),
            "away": away,
        }
        wanted = [cls.__name__ for cls in (missing if wait.every else wait.classes or missing)]
        errors.append(WaitTimeout(wanted or ["A response"], wait.correlation_id, wait.timeout, report))
    return errors


def running_handlers(delivery: Delivery, correlations: set[str] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Return, per correlation, the handlers at work now: handler, message, milliseconds so far."""
    now = monotonic()
    found: dict[str, list[dict[str, Any]]] = {}
    for lane in delivery.routes.lanes():
        for slot in lane.slots:
            handling = slot.handling
            if handling is None or slot.started > now:
                continue
            if correlations is None or handling.envelope.correlation_id in correlations:
                entry = {
                    "handler": handling.handler,
                    "message": type(handling.envelope.message).__name__,
                    "message_id": handling.envelope.message_id,
                    "ms": (now - slot.started) * 1000,
                    "attempt": max(1, handling.attempt),
                    "queued_ms": max(0.0, (slot.started - handling.queued) * 1000),
                }
                found.setdefault(handling.envelope.correlation_id, []).append(entry)
    return found


def _components_elsewhere(
    delivery: Delivery, wiring: Wiring, envelopes: Sequence[Envelope[Any]], missing: Sequence[type[Message]]
) -> list[str]:
    """Name the components of other processes that a wait may be for.

    What they return is missing, and they returned nothing else; or what they were sent has caused nothing that was heard of here.
    """
    if not wiring.elsewhere:
        return []
    specs = {spec.name: spec for spec in wiring.elsewhere}
    causes = {envelope.causation_id for envelope in envelopes}
    sent_there = [
        delivery.routes.of(type(envelope.message)).elsewhere
        for envelope in envelopes
        if not isinstance(envelope.message, Event) and envelope.message_id not in causes
    ]
    answered = {type(envelope.message) for envelope in envelopes if envelope.message_id in causes}
    wanted_from = [
        name
        for cls in missing
        for name in wiring.emits.get(cls, ())
        if name in specs and answered.isdisjoint(specs[name].messages)  # else it has returned something else
    ]
    return sorted({specs[name].component for name in (*wanted_from, *sent_there) if name in specs})


def _brokers_away(delivery: Delivery) -> list[dict[str, Any]]:
    now = time()
    return [
        {
            "broker": broker,
            "since": datetime.fromtimestamp(since).astimezone().isoformat(" ", "seconds"),
            "seconds": round(max(0.0, now - since), 1),
            "why": why,
        }
        for broker, (since, why) in delivery.away.items()
    ]


class _Queues:
    """The queues of handlers, looked through at most once for all waits that expire together."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._queued: dict[Lane, set[str]] = {}

    def of(
        self, envelopes: Sequence[Envelope[Any]], handled: Sequence[Handling], at_work: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """List which messages still wait for which handler, and how many messages wait there in all."""
        begun = {(one.handler, one.envelope.message_id) for one in handled}
        begun |= {(one["handler"], one["message_id"]) for one in at_work}
        return [
            {"handler": lane.name, "message": route.entry.name, "queued": len(lane.queue)}
            for envelope in envelopes
            for route in [self._delivery.routes.of(type(envelope.message))]
            for lane in route.lanes
            if (lane.name, envelope.message_id) not in begun and self._waits(lane, envelope.message_id)
        ]

    def _waits(self, lane: Lane, message_id: str) -> bool:
        queued = self._queued.get(lane)
        if queued is None:
            first = islice(lane.queue, _LOOKED_THROUGH)
            self._queued[lane] = queued = {handling.envelope.message_id for handling in first}
        # Of a queue that is longer than is looked through, the rest was not handled either.
        return message_id in queued or lane.catching_up or len(lane.queue) > _LOOKED_THROUGH


def _each_once(lately: Sequence[T], watched: Sequence[T], key: Callable[[T], Hashable]) -> list[T]:
    """Join what the tracer remembers, perhaps no longer all, and what the correlation has seen since a wait began.

    A message that goes over a broker and comes back to its sender is seen twice.
    """
    return list({key(one): one for one in (*lately, *watched)}.values())


def _response_wanted(wait: Wait, envelopes: Sequence[Any]) -> list[type[Message]]:
    for envelope in envelopes:
        if isinstance(envelope.message, Query) and wait.key == question_key(envelope.message_id):
            answer = response_type(type(envelope.message))
            return [answer] if answer is not None else []
    return []
