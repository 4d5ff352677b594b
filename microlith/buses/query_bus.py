"""The query bus: each query goes to exactly one handler, whose response comes back on it."""

from typing import Any, ClassVar, TypeVar

from microlith.buses.bus import DEFAULT_WAIT, Bus
from microlith.context import correlated
from microlith.delivery import Delivery
from microlith.envelope import Envelope
from microlith.errors import WrongBusError
from microlith.messages import Kind, Query, Response
from microlith.waits import Wait, question_key

R = TypeVar("R", bound=Response)


class QueryBus(Bus[Query[Any]]):
    """Carries queries and their responses. Neither is ever stored."""

    kind: ClassVar[Kind] = "query"

    async def ask(self, query: Query[R] | Envelope[Query[R]], timeout: float = DEFAULT_WAIT) -> R:
        """Dispatch a query and wait for its response. `timeout` in seconds.

        Raises:
            NoHandlerError: Nobody handles the query.
            HandlerFailedError: Its handler failed; its error is the cause.
            WaitTimeout: No response came in time.
        """
        delivery = self._delivery()
        envelope: Envelope[Any] = query if isinstance(query, Envelope) else correlated(query)
        kind = delivery.routes.of(type(envelope.message)).kind
        if kind != "query":
            raise WrongBusError(type(envelope.message).__name__, kind, "query")
        key = question_key(envelope.message_id)
        wait = delivery.waits.open(envelope.correlation_id, (), every=False, timeout=timeout, key=key)
        try:
            self.dispatch(envelope)
            (found,) = await wait.future
            response: R = found.message
            return response
        finally:
            delivery.waits.close(wait)

    async def _look_back(self, delivery: Delivery, wait: Wait) -> None:
        answer = delivery.answers.get(wait.correlation_id)
        if isinstance(answer, Envelope):
            wait.offer(answer)
        elif answer is not None:
            wait.fail(answer)
