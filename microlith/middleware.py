"""Middleware: what happens around every dispatch and every handling.

For what concerns all messages alike: checking who may send, adding headers, logging, limiting
time. The first one given to the application is the outermost.

Decides nothing about routing; knows no bus and no store.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from microlith.envelope import Envelope

Proceed = Callable[[], Awaitable[Any]]


class Middleware:
    """Both hooks of a middleware; override one or both.

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
