"""Observing: how the history of a simulation hears of what the runtime does."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from microlith.context import Handling
from microlith.delivery import Receipt
from microlith.envelope import Envelope
from microlith.ids import short_id
from microlith.testing.simulation.history import History, named
from microlith.testing.simulation.nature import Patches
from microlith.tracing.tracer import Tracer
from microlith.waits import Wait, Waits

Around = Callable[[Any], Any]


@contextmanager
def observed(history: History) -> Iterator[None]:
    """Let the runtime tell the history what it does."""
    patches, watching, logger = Patches(), _LogLines(history), logging.getLogger("microlith")
    propagated = logger.propagate
    try:
        patches.wrap(Receipt, "accepted", _acknowledgements(history))
        patches.wrap(Tracer, "sent", _sendings(history))
        patches.wrap(Tracer, "handled", _handlings(history))
        patches.wrap(Waits, "_expire", _timeouts(history))
        logger.addHandler(watching)
        logger.propagate = False
        yield
    finally:
        logger.removeHandler(watching)
        logger.propagate = propagated
        patches.take_back()


def _acknowledgements(history: History) -> Around:
    def around(original: Any) -> Any:
        def accepted(receipt: Receipt, error: BaseException | None = None) -> None:
            if error is None:
                history.acknowledged.setdefault(receipt.message_id, receipt.envelope)
            original(receipt, error)

        return accepted

    return around


def _sendings(history: History) -> Around:
    def around(original: Any) -> Any:
        def sent(tracer: Tracer, envelope: Envelope[Any], *rest: Any, **more: Any) -> None:
            cause = f" by {short_id(envelope.causation_id)}" if envelope.causation_id else ""
            history.note(f"sent {named(envelope)}{cause}")
            history.envelopes[envelope.message_id] = envelope
            original(tracer, envelope, *rest, **more)

        return sent

    return around


def _handlings(history: History) -> Around:
    def around(original: Any) -> Any:
        def handled(tracer: Tracer, handling: Handling, error: Any = None, *rest: Any, **more: Any) -> None:
            shown = f"{type(error).__name__}: {error}" if error is not None else ""
            envelope = handling.envelope
            text = f"{handling.handler} {handling.outcome} {named(envelope)}, try {handling.attempt}"
            history.note(f"{text} {shown}".rstrip())
            history.handled.append((envelope.message_id, handling.handler, handling.outcome, shown))
            original(tracer, handling, error, *rest, **more)

        return handled

    return around


def _timeouts(history: History) -> Around:
    def around(original: Any) -> Any:
        def expire(waits: Waits) -> None:
            explained = waits._expired  # noqa: SLF001 (there is no other place where a timeout shows)

            def told(due: list[Wait]) -> list[BaseException]:
                for wait in due:
                    history.expired(wait)
                return explained(due)

            waits._expired = told  # noqa: SLF001
            try:
                original(waits)
            finally:
                waits._expired = explained  # noqa: SLF001

        return expire

    return around


class _LogLines(logging.Handler):
    """Writes what the runtime logs into the history."""

    def __init__(self, history: History) -> None:
        super().__init__(logging.WARNING)
        self._history = history

    def emit(self, record: logging.LogRecord) -> None:
        """Note one record."""
        self._history.note(f"log: {record.getMessage().splitlines()[0][:200]}")
