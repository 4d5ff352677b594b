"""The command bus: each command goes to exactly one handler."""

from collections.abc import Coroutine, Sequence
from typing import Any, ClassVar, Literal, overload

from microlith.buses.answers import Answer, ReadSide
from microlith.buses.bus import DEFAULT_WAIT, A, B, Bus, C, D, Wanted
from microlith.buses.event_bus import look_back, look_for_failure
from microlith.context import correlated
from microlith.delivery import Delivery
from microlith.envelope import Envelope
from microlith.errors import ProjectionsBehindError
from microlith.messages import Command, Kind, Message
from microlith.waits import Wait

Sent = Command | Envelope[Command]
CaughtUp = ReadSide | Sequence[ReadSide]


class CommandBus(Bus[Command]):
    """Carries commands. A command is recorded when accepted and survives a crash until it is handled."""

    kind: ClassVar[Kind] = "command"

    @overload
    def execute(
        self,
        command: Sent,
        until: type[A] | tuple[type[A]],
        timeout: float = ...,
        *,
        caught_up: CaughtUp = ...,
        allow_stale: Literal[False] = ...,
    ) -> Coroutine[Any, Any, A]: ...
    @overload
    def execute(
        self,
        command: Sent,
        until: tuple[type[A], type[B]],
        timeout: float = ...,
        *,
        caught_up: CaughtUp = ...,
        allow_stale: Literal[False] = ...,
    ) -> Coroutine[Any, Any, A | B]: ...
    @overload
    def execute(
        self,
        command: Sent,
        until: tuple[type[A], type[B], type[C]],
        timeout: float = ...,
        *,
        caught_up: CaughtUp = ...,
        allow_stale: Literal[False] = ...,
    ) -> Coroutine[Any, Any, A | B | C]: ...
    @overload
    def execute(
        self,
        command: Sent,
        until: tuple[type[A], type[B], type[C], type[D]],
        timeout: float = ...,
        *,
        caught_up: CaughtUp = ...,
        allow_stale: Literal[False] = ...,
    ) -> Coroutine[Any, Any, A | B | C | D]: ...
    @overload
    def execute(
        self,
        command: Sent,
        until: Wanted | Sequence[Wanted],
        timeout: float = ...,
        *,
        caught_up: CaughtUp = ...,
        allow_stale: Literal[False] = ...,
    ) -> Coroutine[Any, Any, Message]: ...
    @overload
    def execute(
        self,
        command: Sent,
        until: type[A] | tuple[type[A]],
        timeout: float = ...,
        *,
        caught_up: CaughtUp = ...,
        allow_stale: Literal[True],
    ) -> Coroutine[Any, Any, Answer[A]]: ...
    @overload
    def execute(
        self,
        command: Sent,
        until: tuple[type[A], type[B]],
        timeout: float = ...,
        *,
        caught_up: CaughtUp = ...,
        allow_stale: Literal[True],
    ) -> Coroutine[Any, Any, Answer[A | B]]: ...
    @overload
    def execute(
        self,
        command: Sent,
        until: tuple[type[A], type[B], type[C]],
        timeout: float = ...,
        *,
        caught_up: CaughtUp = ...,
        allow_stale: Literal[True],
    ) -> Coroutine[Any, Any, Answer[A | B | C]]: ...
    @overload
    def execute(
        self,
        command: Sent,
        until: tuple[type[A], type[B], type[C], type[D]],
        timeout: float = ...,
        *,
        caught_up: CaughtUp = ...,
        allow_stale: Literal[True],
    ) -> Coroutine[Any, Any, Answer[A | B | C | D]]: ...
    @overload
    def execute(
        self,
        command: Sent,
        until: Wanted | Sequence[Wanted],
        timeout: float = ...,
        *,
        caught_up: CaughtUp = ...,
        allow_stale: Literal[True],
    ) -> Coroutine[Any, Any, Answer[Message]]: ...
    async def execute(
        self,
        command: Any,
        until: Any,
        timeout: float = DEFAULT_WAIT,
        *,
        caught_up: Any = (),
        allow_stale: bool = False,
    ) -> Any:
        """Dispatch a command and wait for the first of some events it causes.

        Args:
            command: The command, or its envelope.
            until: An event type or several, by name or class; the first match wins.
            timeout: Seconds, for all of it.
            caught_up: Projections, their names, or read models. Wait also until they have passed every event that is
                recorded of this correlation when the awaited one has come: what is read then shows the command's doing.
            allow_stale: Return an `Answer`, which says who has not caught up in time, rather than raise.

        Raises:
            HandlerFailedError: A handler failed; its error is the cause.
            WaitTimeout: No such event came in time; the command is not undone.
            ProjectionsBehindError: It came, but some projections have stopped, or did not catch up in time.
            UnknownProjectionError: One of `caught_up` is not there; nothing was sent.
        """
        delivery = self._delivery()
        names = delivery.projections().names_of(caught_up) if caught_up else ()
        envelope = command if isinstance(command, Envelope) else correlated(command)
        classes = tuple(self._host.message_class(one) for one in ((until,) if isinstance(until, str | type) else until))
        if not classes:
            raise ValueError("A wait needs at least one message type.")
        wait = delivery.waits.open(envelope.correlation_id, classes, every=False, timeout=timeout)
        deadline = delivery.loop.time() + timeout if names else 0.0
        try:
            await self.dispatch(envelope)
            if envelope is command and not wait.future.done():
                await look_back(delivery, wait)  # an envelope may have been handled before
            (found,) = await wait.future
        finally:
            delivery.waits.close(wait)
        if not (names or allow_stale):
            return found.message
        behind = await delivery.projections().behind(names, envelope.correlation_id, deadline) if names else ()
        if allow_stale:
            return Answer(found.message, behind)
        if behind:
            raise ProjectionsBehindError(behind, timeout, found.message)
        return found.message

    async def _look_back(self, delivery: Delivery, wait: Wait) -> None:
        for envelope in delivery.commands_of(wait.correlation_id):
            wait.offer(envelope)
        await look_for_failure(delivery, wait)
