"""The tracer that also tells others: middleware that wants to hear what came of each handling.

Used in place of the plain one only when somebody listens, so that it costs nobody else anything.
"""

import logging
from collections.abc import Callable, Sequence

from microlith.context import Handling
from microlith.serialization import MessageTypes
from microlith.tracing.tracer import Tracer

Listener = Callable[[Handling, BaseException | None], None]
logger = logging.getLogger("microlith")


class TellingTracer(Tracer):
    """A tracer that tells some listeners of each handling. What they raise is logged."""

    def __init__(self, types: MessageTypes, source: str, process: str, listeners: Sequence[Listener]) -> None:
        super().__init__(types, source, process)
        self._listeners = tuple(listeners)

    def handled(self, handling: Handling, error: BaseException | None = None, sent: Sequence[str] = ()) -> None:
        """Note that a handling is finished, and tell the listeners."""
        super().handled(handling, error, sent)
        for tell in self._listeners:
            try:
                tell(handling, error)
            except Exception:
                logger.exception("A middleware could not take in what came of %s", handling.handler)
