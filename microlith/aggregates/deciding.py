"""Deciding: the handlers of a decider's commands.

Each loads the state of the command's stream and returns a decision; committing it is the delivery's.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from microlith.aggregates.decider import Decider
from microlith.aggregates.streams import Streams
from microlith.handlers.decisions import Decision
from microlith.handlers.declared import HandlerSpec
from microlith.handlers.retries import Retry
from microlith.messages import Command

_AT_A_TIME = 64
"""Commands of one type that are decided at a time, for different streams."""


def handlers_of(decider: Decider[Any], component: str, retry: Retry | None) -> list[HandlerSpec]:
    """Make the handlers of a decider's commands."""
    return [
        HandlerSpec(
            component,
            command,
            _deciding(decider, command),
            concurrency=_AT_A_TIME,
            retry=retry,
            written_as=decider.written.get(command, decider.decide),
            returns=returned,
            key=lambda envelope: decider.stream_of(envelope.message),
            parks=False,
        )
        for command, returned in decider.commands.items()
    ]


def _deciding(decider: Decider[Any], command_type: type[Command]) -> Callable[..., Any]:
    async def decide(command: Command, streams: Streams) -> Decision:
        stream = decider.stream_of(command)
        release = await decider.locks.acquire(stream)
        try:
            state, position, known = await streams.load_on(decider, stream)
            events = decider.decided(state, command)
            due = decider.shape is not None and position + len(events) - known >= decider.shape.every
            committed = partial(streams.make_snapshot, decider, stream) if due else None
            return Decision(events, stream, position, release, committed)
        except BaseException:
            release()
            raise

    decide.__name__ = f"{decider.name}.{command_type.__name__}"
    return decide
