"""Runs processes: loads one by its key, lets it take an event, and hands the step to the delivery.

Each step is one event in the process's own stream; its id is made of the process and the event that was taken, so that
an event that was taken before is known by a look into the log.

Commits nothing itself: step, output and settlement are one unit of the delivery's.
"""

from collections.abc import Callable
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from microlith.context import caused_by
from microlith.envelope import Envelope
from microlith.errors import MicrolithError, PayloadError, UnknownTypeError
from microlith.event_store.protocol import EventStore
from microlith.handlers.decisions import Decision, Ignored
from microlith.handlers.declared import HandlerSpec
from microlith.handlers.retries import Retry
from microlith.handlers.schedules import Scheduled
from microlith.messages import Event
from microlith.processes.process import Process, ProcessStepped
from microlith.processes.reading import ProcessType

_AT_A_TIME = 64
"""Events that are taken at a time, of different processes of one kind."""


class ProcessStateError(MicrolithError):
    """The stored state of a process does not fit its class any more; what does not fit is the cause."""

    def __init__(self, name: str, key: str, stream: str, error: Exception) -> None:
        super().__init__(
            f"The stored state of the process {name} {key!r} does not fit its class any more: {error}",
            hint=f"Raise `version` in `class {name}(Process, ...)` and declare an upcaster, then retry the dead letter; "
            f"the state is the last event of the stream {stream!r}.",
        )


class Processes:
    """Finds processes in the event store. Handlers of processes ask for it by this type."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def find(self, process: ProcessType, key: str) -> "Found":
        """Find a process by its key: its newest step, if there is one."""
        streams = process.streams_of(key)
        for stream in streams:
            newest = await self._store.newest(stream)
            if newest is not None:
                try:
                    step = newest.message
                except (PayloadError, UnknownTypeError) as error:
                    raise ProcessStateError(process.name, key, stream, error) from error
                if isinstance(step, ProcessStepped):
                    return Found(stream, newest.stream_position, step)
        return Found(streams[0], -1, None)

    async def has_taken(self, step_id: str) -> bool:
        """Tell whether a step is in the log."""
        return await self._store.is_recorded(step_id)


class Found:
    """One process as it stands in the log.

    Attributes:
        stream: Its stream.
        position: Stream position of its newest step; -1 before the first.
        step: That step; None before the first.
    """

    __slots__ = ("position", "step", "stream")

    def __init__(self, stream: str, position: int, step: ProcessStepped | None) -> None:
        self.stream = stream
        self.position = position
        self.step = step


def handler_of(process: ProcessType, component: str, retry: Retry | None) -> HandlerSpec:
    """Make the one handler of a process: it takes all its events, in the order of the log."""
    return HandlerSpec(
        component,
        next(iter(process.takes)),
        _stepping(process),
        concurrency=_AT_A_TIME,
        key=process.key_if_known,
        retry=retry,
        written_as=next(iter(process.takes.values())).method,
        methods={event: (taking.method, [*taking.returns, process.step]) for event, taking in process.takes.items()},
    )


def _stepping(process: ProcessType) -> Callable[..., Any]:
    async def take(envelope: Envelope[Event], processes: Processes) -> Decision | Ignored:
        return await _made(process, envelope, processes)

    take.__name__ = process.name
    return take


async def _made(process: ProcessType, envelope: Envelope[Event], processes: Processes) -> Decision | Ignored:
    """Let a process take an event, or say why it does not. The lane lets in one event of a key at a time."""
    event, key = envelope.message, process.key_of(envelope)
    found = await processes.find(process, key)
    step_id = _step_id(found.stream, envelope)
    if found.step is not None and await processes.has_taken(step_id):
        return Ignored(f"the process {process.name} {key!r} has taken it already")
    ended = found.step is not None and found.step.ended
    ignored = process.ignores(event, key, started=found.step is not None, ended=ended)
    if ignored is not None:
        return Ignored(ignored)
    state = process.cls() if found.step is None else _copied(found.step.state)
    messages, ended = process.step_of(state, event)
    before = found.step is not None and found.step.scheduled
    scheduled = before or any(isinstance(message, Scheduled) for message in messages)
    step = process.step(key=key, took=type(event).__name__, ended=ended, scheduled=scheduled, state=state)
    return Decision(
        messages,
        found.stream,
        found.position,
        _nothing,
        step=caused_by(envelope, step, step_id),
        clears=ended and before,
    )


def _nothing() -> None:
    """There is nothing to let go of."""


def _copied(state: Any) -> Process:
    """Copy a state: the step that holds it is immutable, and may be taken from again when a race was lost."""
    copied: Process = state.model_copy(deep=True)
    return copied


def _step_id(stream: str, envelope: Envelope[Any]) -> str:
    return str(uuid5(NAMESPACE_OID, f"{stream}\n{envelope.message_id}"))
