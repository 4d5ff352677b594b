"""microlith: the runtime of microlithic applications.

Deployed as one monolith, built as components that talk only through a command bus, a query bus
and an event bus. Names are loaded when first used, so that the tool can start without pydantic.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microlith.aggregates import Aggregate, Decider, Streams, decides, evolves
    from microlith.application import Microlith
    from microlith.buses import Answer, CommandBus, EventBus, QueryBus, Receipt, Subscription
    from microlith.clock import Clock
    from microlith.component import Component
    from microlith.context import correlated, current_envelope
    from microlith.envelope import Envelope
    from microlith.errors import (
        BusFullError,
        ClosedError,
        HandlerFailedError,
        MicrolithError,
        NoHandlerError,
        PayloadError,
        ProjectionsBehindError,
        StoreError,
        WaitTimeout,
        WiringError,
    )
    from microlith.event_store.recorded_event import RecordedEvent
    from microlith.handlers.retries import Retry
    from microlith.handlers.schedules import Cancelled, Scheduled, ScheduleError
    from microlith.messages import Command, Event, Message, Query, Response
    from microlith.middleware import Middleware
    from microlith.privacy import Personal
    from microlith.processes import Process, continues, starts
    from microlith.projections import ExternalProjection, Projection, ReadModel, Table, View

__version__ = "0.1.0"

_HOMES = {
    "aggregates": ("Aggregate", "Decider", "Streams", "decides", "evolves"),
    "application": ("Microlith",),
    "buses": ("Answer", "CommandBus", "EventBus", "QueryBus", "Receipt", "Subscription"),
    "clock": ("Clock",),
    "component": ("Component",),
    "context": ("correlated", "current_envelope"),
    "envelope": ("Envelope",),
    "errors": (
        "BusFullError",
        "ClosedError",
        "HandlerFailedError",
        "MicrolithError",
        "NoHandlerError",
        "PayloadError",
        "ProjectionsBehindError",
        "StoreError",
        "WaitTimeout",
        "WiringError",
    ),
    "handlers.retries": ("Retry",),
    "handlers.schedules": ("Cancelled", "ScheduleError", "Scheduled"),
    "messages": ("Command", "Event", "Message", "Query", "Response"),
    "middleware": ("Middleware",),
    "privacy": ("Personal",),
    "processes": ("Process", "continues", "starts"),
    "event_store.recorded_event": ("RecordedEvent",),
    "projections": ("ExternalProjection", "Projection", "ReadModel", "Table", "View"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Aggregate",
    "Answer",
    "BusFullError",
    "Cancelled",
    "Clock",
    "ClosedError",
    "Command",
    "CommandBus",
    "Component",
    "Decider",
    "Envelope",
    "Event",
    "EventBus",
    "ExternalProjection",
    "HandlerFailedError",
    "Message",
    "Microlith",
    "MicrolithError",
    "Middleware",
    "NoHandlerError",
    "PayloadError",
    "Personal",
    "Process",
    "Projection",
    "ProjectionsBehindError",
    "Query",
    "QueryBus",
    "ReadModel",
    "Receipt",
    "RecordedEvent",
    "Response",
    "Retry",
    "ScheduleError",
    "Scheduled",
    "StoreError",
    "Streams",
    "Subscription",
    "Table",
    "View",
    "WaitTimeout",
    "WiringError",
    "continues",
    "correlated",
    "current_envelope",
    "decides",
    "evolves",
    "starts",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'microlith' has no attribute {name!r}")
    value = getattr(import_module(f"microlith.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
