"""The command bus: each command goes to exactly one handler."""

from collections.abc import Coroutine, Sequence
from typing import Any, ClassVar, overload

from microlith.buses.bus import DEFAULT_WAIT, A, B, Bus, C, D, Wanted
from microlith.buses.event_bus import look_back, look_for_failure
from microlith.context import correlated
from microlith.delivery import Delivery
from microlith.envelope import Envelope
from microlith.messages import Command, Kind, Message
from microlith.waits import Wait

Sent = Command | Envelope[Any]


class CommandBus(Bus):
    """Carries commands. A command is recorded when accepted and survives a crash until it is handled."""

    kind: ClassVar[Kind] = "command"

    @overload
    def execute(
        self, command: Sent, until: type[A] | tuple[type[A]], timeout: float = ...
    ) -> Coroutine[Any, Any, A]: ...
    @overload
    def execute(
        self, command: Sent, until: tuple[type[A], type[B]], timeout: float = ...
    ) -> Coroutine[Any, Any, A | B]: ...
    @overload
    def execute(
        self, command: Sent, until: tuple[type[A], type[B], type[C]], timeout: float = ...
    ) -> Coroutine[Any, Any, A | B | C]: ...
    @overload
    def execute(
        self, command: Sent, until: tuple[type[A], type[B], type[C], type[D]], timeout: float = ...
    ) -> Coroutine[Any, Any, A | B | C | D]: ...
    @overload
    def execute(
        self, command: Sent, until: Wanted | Sequence[Wanted], timeout: float = ...
    ) -> Coroutine[Any, Any, Message]: ...
    async def execute(self, command: Any, until: Any, timeout: float = DEFAULT_WAIT) -> Any:
        """Dispatch a command and wait for the first of some events it causes.

        Args:
            command: The command, or its envelope.
            until: An event type or several, by name or class; the first match wins.
            timeout: Seconds.

        Raises:
            HandlerFailedError: A handler failed; its error is the cause.
            WaitTimeout: No such event came in time; the command is not undone.
        """
        delivery = self._delivery()
        envelope = command if isinstance(command, Envelope) else correlated(command)
        classes = tuple(self._host.message_class(one) for one in ((until,) if isinstance(until, str | type) else until))
        if not classes:
            raise ValueError("A wait needs at least one message type.")
        wait = delivery.waits.open(envelope.correlation_id, classes, every=False, timeout=timeout)
        try:
            await self.dispatch(envelope)
            if envelope is command and not wait.future.done():
                await look_back(delivery, wait)  # an envelope may have been handled before
            (found,) = await wait.future
            return found.message
        finally:
            delivery.waits.close(wait)

    async def _look_back(self, delivery: Delivery, wait: Wait) -> None:
        for envelope in delivery.commands_of(wait.correlation_id):
            wait.offer(envelope)
        await look_for_failure(delivery, wait)
