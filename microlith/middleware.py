"""Middleware: what happens around every dispatch and every handling.

For what concerns all messages alike: checking who may send, adding headers, logging, limiting
time. The first one given to the application is the outermost.

Decides nothing about routing; knows no bus and no store.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from microlith.context import Handling
from microlith.envelope import Envelope

Proceed = Callable[[], Awaitable[Any]]


class RetryPolicy(Protocol):
    """Whether and when a failing handler tries again; `microlith.Retry` is one."""

    @property
    def attempts(self) -> int:
        """How often a message is tried in all."""
        ...

    def again(self, attempt: int, error: BaseException) -> bool:
        """Tell whether a message is tried again after this attempt (from 1) ended with this error."""
        ...

    def pause(self, attempt: int) -> float:
        """Return the seconds between this attempt (from 1) and the next."""
        ...


class Middleware:
    """The hooks of a middleware; override those you need.

    Stateless, or at least safe for many messages at a time: an application has one instance.
    """

    def dispatching(self, envelope: Envelope[Any]) -> Envelope[Any]:
        """See a message before it is accepted; return it, perhaps with other headers, or raise to refuse it.

        What it raises reaches the sender; nothing is recorded. It runs wherever `dispatch` is called, also in a
        thread, and for what handlers return. The message and the ids stay as they are.
        """
        return envelope

    async def handling(self, envelope: Envelope[Any], proceed: Proceed) -> Any:  # noqa: ARG002 (for those who override it)
        """Run around a handler; return what `await proceed()` returns, which is what the handler returned.

        What it raises counts as the handler's failure. `proceed` may be called once.
        """
        return await proceed()

    def retrying(self, message: type[Any]) -> RetryPolicy | None:  # noqa: ARG002 (for those who override it)
        """Say how the handlers of a message type try again that have no policy of their own; None: nothing to say.

        Asked once for each handler, when the application starts; the first answer counts. Trying again itself is
        not the middleware's: each try is counted in the store before it begins, and is a handling of its own.
        """
        return None

    def settled(self, handling: Handling, error: BaseException | None) -> None:
        """Hear what became of a handling: `handling.outcome`, and the error if it failed.

        Called on the loop, for each try; for what a handler returned or sent, after its commit. Also for a message that
        was parked and not handled at all. What it raises is logged and changes nothing.
        """


def retry_policy(middleware: Sequence[Middleware], message: type[Any]) -> RetryPolicy | None:
    """Ask every middleware for a policy, outermost first."""
    return next((policy for one in middleware if (policy := one.retrying(message)) is not None), None)


def dispatched_through(middleware: Sequence[Middleware], envelope: Envelope[Any]) -> Envelope[Any]:
    """Show a message to every middleware, outermost first."""
    for one in middleware:
        envelope = one.dispatching(envelope)
    return envelope


def handled_through(
    middleware: Sequence[Middleware], call: Callable[[Envelope[Any]], Awaitable[Any]]
) -> Callable[[Envelope[Any]], Awaitable[Any]]:
    """Wrap the call of a handler in every middleware, the first outermost."""
    for one in reversed(middleware):
        call = _around(one, call)
    return call


def _around(
    middleware: Middleware, call: Callable[[Envelope[Any]], Awaitable[Any]]
) -> Callable[[Envelope[Any]], Awaitable[Any]]:
    async def wrapped(envelope: Envelope[Any]) -> Any:
        return await middleware.handling(envelope, lambda: call(envelope))

    return wrapped
