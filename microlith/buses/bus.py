"""What the three buses share: dispatch, subscribe, wait.

A bus belongs to the event loop that started its application. Threads without a loop may
dispatch; another loop may not.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, ClassVar, Generic, Protocol, TypeVar, overload

from microlith.context import Handling, enveloped, handling_now, refuse_while_folding
from microlith.delivery import Delivery, Receipt, Route, ScheduledReceipt
from microlith.envelope import Envelope
from microlith.errors import ForeignLoopError, NotRunningError, WrongBusError
from microlith.handlers.schedules import After, When
from microlith.messages import Kind, Message
from microlith.middleware import dispatched_through
from microlith.waits import Wait

A = TypeVar("A", bound=Message)
B = TypeVar("B", bound=Message)
C = TypeVar("C", bound=Message)
D = TypeVar("D", bound=Message)
K = TypeVar("K", bound=Message)

DEFAULT_WAIT = 5.0
"""Seconds a wait lasts unless it says otherwise."""

Wanted = str | type[Message]
_ONE = (str, type)
_KNOWN = 1_000
"""How many combinations of types are remembered with their classes."""


class Host(Protocol):
    """The application, as far as a bus needs it."""

    name: str
    delivery: Delivery | None
    intake: bool

    def message_class(self, wanted: Wanted) -> type[Message]:
        """Find a message class by name, or check one."""
        ...

    def add_subscription(self, kind: Kind, wanted: Wanted, function: Callable[..., Any]) -> "Subscription":
        """Add a handler that is not part of a component and not remembered by the store."""
        ...


class Subscription:
    """A handler added while the application runs. It sees what comes from now on."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel

    def cancel(self) -> None:
        """Stop receiving. Safe to call twice."""
        self._cancel()


class Bus(ABC, Generic[K]):
    """Carries messages of one kind."""

    kind: ClassVar[Kind]

    def __init__(self, host: Host) -> None:
        self._host = host
        self._known: dict[tuple[Wanted, ...], tuple[type[Message], ...]] = {}

    def dispatch(self, message: K | Envelope[K], *, at: datetime | None = None, after: After | None = None) -> Receipt:
        """Send a message, or an envelope made by `correlated`, and return at once; or have it sent later.

        Await the receipt to wait until the message is accepted under the store's durability. In a
        handler, what is not awaited goes out together with the handler's own commit, and not at all
        if the handler fails.

        A command or event that is to be sent later is kept by the store; its receipt's message id is what
        `app.cancel_schedule` takes. Middleware sees it now, and not again.

        Args:
            message: The message, or its envelope.
            at: The moment to send it at; with a time zone.
            after: How long from now on to send it: a timedelta, or seconds.

        Raises:
            NotRunningError: The application is not running.
            WrongBusError: The message is of another kind.
            NoHandlerError: A command or query that nobody handles.
            BusFullError: Too many messages wait for their handler.
            CascadeTooDeepError: Messages keep causing messages.
            SentWhileFoldingError: A projection, or the state of an aggregate, is being folded here.
            ScheduleError: It is to be sent at a moment that is none, or is a query, which is never kept.
        """
        delivery = self._host.delivery
        if delivery is None:
            refuse_while_folding()
            raise NotRunningError(self._host.name)
        handling = handling_now.get()
        envelope: Envelope[Any]
        if isinstance(message, Envelope):
            envelope = message
            if handling is not None:
                refuse_while_folding()
        else:
            envelope = enveloped(message, handling)
        route = delivery.routes.get(type(envelope.message)) or delivery.routes.of(type(envelope.message))
        if route.kind != self.kind:
            raise WrongBusError(route.entry.name, route.kind, self.kind)
        if at is not None or after is not None:
            return self._dispatch_later(delivery, envelope, route, When(at, after), handling)
        delivery.check(envelope, route)
        if delivery.middleware:
            envelope = dispatched_through(delivery.middleware, envelope)
        on_loop = delivery.is_here()
        if not on_loop:
            self._refuse_another_loop()
        receipt = Receipt(envelope, route, delivery)
        if handling is not None and handling.open and self.kind != "query":
            delivery.hold(handling, receipt)
        elif handling is None and not self._host.intake:
            raise NotRunningError(self._host.name)
        elif on_loop:
            delivery.accept(receipt)
        else:
            delivery.loop.call_soon_threadsafe(delivery.accept_later, receipt)
        return receipt

    @overload
    def subscribe(self, wanted: type[A], handler: Callable[[A], Any]) -> Subscription: ...
    @overload
    def subscribe(self, wanted: str, handler: Callable[..., Any]) -> Subscription: ...
    def subscribe(self, wanted: Any, handler: Callable[..., Any]) -> Subscription:
        """Handle messages of a type, given by name or class, from now until `.cancel()`.

        What the handler returns is dispatched, as with `@component.handles`. Nothing is remembered
        over a restart: for that, declare the handler in a component.

        Raises:
            UnknownTypeError: No component declares the type.
            DuplicateHandlerError: A command or query that is handled already.
        """
        return self._host.add_subscription(self.kind, wanted, handler)

    @overload
    def wait_for(
        self, correlation_id: str, types: type[A] | tuple[type[A]], timeout: float = ...
    ) -> Coroutine[Any, Any, A]: ...
    @overload
    def wait_for(
        self, correlation_id: str, types: tuple[type[A], type[B]], timeout: float = ...
    ) -> Coroutine[Any, Any, A | B]: ...
    @overload
    def wait_for(
        self, correlation_id: str, types: tuple[type[A], type[B], type[C]], timeout: float = ...
    ) -> Coroutine[Any, Any, A | B | C]: ...
    @overload
    def wait_for(
        self, correlation_id: str, types: tuple[type[A], type[B], type[C], type[D]], timeout: float = ...
    ) -> Coroutine[Any, Any, A | B | C | D]: ...
    @overload
    def wait_for(
        self, correlation_id: str, types: Wanted | Sequence[Wanted], timeout: float = ...
    ) -> Coroutine[Any, Any, Message]: ...
    async def wait_for(self, correlation_id: str, types: Any, timeout: float = DEFAULT_WAIT) -> Any:
        """Wait for the first message of one of several types, by name or class, in a correlation.

        Finds a message that came before the call as well as one that comes after.
        How far back: events without limit, from the log; responses among the newest 10,000; commands that
        wait for their handler without limit, and among the newest 10,000 that handlers have sent. What else
        was handled is not kept: a command may hold a password.

        Args:
            correlation_id: Such as `envelope.correlation_id` or `receipt.correlation_id`.
            types: One type or several; the first match wins.
            timeout: Seconds.

        Raises:
            HandlerFailedError: A handler of this correlation failed; its error is the cause.
            WaitTimeout: Nothing came in time; says what did happen. A later wait still finds it.
            ClosedError: The application stopped.
        """
        return (await self._wait(correlation_id, types, timeout, every=False))[0]

    @overload
    def wait_all(
        self, correlation_id: str, types: tuple[type[A]], timeout: float = ...
    ) -> Coroutine[Any, Any, tuple[A]]: ...
    @overload
    def wait_all(
        self, correlation_id: str, types: tuple[type[A], type[B]], timeout: float = ...
    ) -> Coroutine[Any, Any, tuple[A, B]]: ...
    @overload
    def wait_all(
        self, correlation_id: str, types: tuple[type[A], type[B], type[C]], timeout: float = ...
    ) -> Coroutine[Any, Any, tuple[A, B, C]]: ...
    @overload
    def wait_all(
        self, correlation_id: str, types: tuple[type[A], type[B], type[C], type[D]], timeout: float = ...
    ) -> Coroutine[Any, Any, tuple[A, B, C, D]]: ...
    @overload
    def wait_all(
        self, correlation_id: str, types: Sequence[Wanted], timeout: float = ...
    ) -> Coroutine[Any, Any, tuple[Message, ...]]: ...
    async def wait_all(self, correlation_id: str, types: Any, timeout: float = DEFAULT_WAIT) -> Any:
        """Wait for one message of each type, and return them in the order of the types.

        Otherwise as `wait_for`.
        """
        return await self._wait(correlation_id, types, timeout, every=True)

    async def _wait(self, correlation_id: str, types: Any, timeout: float, *, every: bool) -> tuple[Message, ...]:
        delivery = self._delivery()
        handling = handling_now.get()
        if handling is not None and handling.open and handling.outbox:
            delivery.send_now(handling)
        wait = delivery.waits.open(correlation_id, self.classes(types), every=every, timeout=timeout)
        try:
            await self._look_back(delivery, wait)
            return tuple(envelope.message for envelope in await wait.future)
        finally:
            delivery.waits.close(wait)

    def classes(self, types: Any) -> tuple[type[Message], ...]:
        """Turn names and classes into classes, each once.

        Raises:
            UnknownTypeError: A name that no component declares.
            WrongBusError: A type that never travels on this bus.
        """
        wanted = (types,) if isinstance(types, _ONE) else tuple(types)
        classes = self._known.get(wanted)
        if classes is None:
            if not wanted:
                raise ValueError("A wait needs at least one message type.")
            classes = tuple(dict.fromkeys(self._checked(self._host.message_class(one)) for one in wanted))
            if len(self._known) < _KNOWN:
                self._known[wanted] = classes
        return classes

    @abstractmethod
    async def _look_back(self, delivery: Delivery, wait: Wait) -> None:
        """Show a wait what its correlation has seen already; each bus knows where to look."""
        ...

    def _checked(self, cls: type[Message]) -> type[Message]:
        bus = "query" if cls.__kind__ == "response" else cls.__kind__
        if bus != self.kind:
            raise WrongBusError(cls.__name__, bus, self.kind)
        return cls

    def _dispatch_later(
        self, delivery: Delivery, envelope: Envelope[Any], route: Route, when: When, handling: Handling | None
    ) -> Receipt:
        change = delivery.timers.scheduling(envelope, when)
        delivery.timers.check(change.envelope, route)
        if delivery.middleware:
            change.envelope = dispatched_through(delivery.middleware, change.envelope)
        on_loop = delivery.is_here()
        if not on_loop:
            self._refuse_another_loop()
        receipt = ScheduledReceipt(change, route, delivery)
        if handling is not None and handling.open:
            delivery.hold(handling, receipt)
        elif handling is None and not self._host.intake:
            raise NotRunningError(self._host.name)
        elif on_loop:
            delivery.timers.keep(receipt)
        else:
            delivery.loop.call_soon_threadsafe(delivery.accept_later, receipt)
        return receipt

    def _refuse_another_loop(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return  # a thread without a loop may dispatch
        raise ForeignLoopError(self._host.name)

    def _delivery(self) -> Delivery:
        delivery = self._host.delivery
        if delivery is None:
            refuse_while_folding()
            raise NotRunningError(self._host.name)
        if not delivery.is_here():
            refuse_while_folding()
            raise ForeignLoopError(self._host.name)
        return delivery
