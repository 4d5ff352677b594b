"""Authorisation: asks a function of yours whether whoever sends a message may send it.

Who sends (the principal) is said with `acting_as`, or in the header "principal". It travels on as
that header with everything the message causes, so that it is stored with each of them.

Knows no users, roles or tokens: finding out who somebody is, is the gateway's.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from microlith.context import Handling, handling_now
from microlith.envelope import Envelope
from microlith.errors import MicrolithError, WiringError
from microlith.middleware import Middleware

PRINCIPAL = "principal"
"""The header that holds who sent the first message."""

_acting: ContextVar[tuple[str, Handling | None] | None] = ContextVar("microlith_principal", default=None)


class NotAllowedError(MicrolithError):
    """Whoever sent a message may not; nothing of it was recorded."""

    def __init__(self, message_name: str, principal: str | None) -> None:
        who = "Nobody in particular" if principal is None else repr(principal)
        super().__init__(
            f"{who} may not send {message_name}.",
            hint="Say who sends it: `with acting_as(PRINCIPAL): ...`, or at a terminal --header principal=ID."
            if principal is None
            else "",
        )
        self.message_name = message_name
        self.principal = principal


@contextmanager
def acting_as(principal: str) -> Iterator[None]:
    """Send what is dispatched inside the block as somebody.

    Write `with acting_as(user_id): bus.dispatch(...)`. An id, not a name or an address: it is stored with every message, and stays there. In a handler it holds for that
    handling alone.
    """
    token = _acting.set((principal, handling_now.get()))
    try:
        yield
    finally:
        _acting.reset(token)


def current_principal() -> str | None:
    """Return who acts here: as `acting_as` says, else who sent the message being handled; None when nobody said."""
    handling, acting = handling_now.get(), _acting.get()
    # The tasks of the lanes were made where the application was started, and inherit what held there.
    if acting is not None and acting[1] is handling:
        return acting[0]
    return None if handling is None else (handling.envelope.headers or {}).get(PRINCIPAL)


Allowed = Callable[[Envelope[Any], str | None], bool]
"""Takes a message in its envelope and who sends it (None: nobody said); True lets it pass."""


class Authorisation(Middleware):
    """Lets a message pass when your function says True; otherwise nothing is recorded, and the sender gets NotAllowedError.

    Asked for every command and query, also those that handlers send, and for events from outside. Not asked for the
    events of handlers: they have happened. What the function raises refuses the message, too.
    """

    def __init__(self, allowed: Allowed) -> None:
        """Take the function. It is called where `dispatch` is, so it must be quick, and may run in any thread."""
        if inspect.iscoroutinefunction(allowed) or inspect.iscoroutinefunction(getattr(allowed, "__call__", None)):  # noqa: B004 (an object may have an async one)
            raise WiringError(
                "Authorisation takes a function, not an `async def`: a message is accepted or refused at once.",
                hint="Look up what it needs before the dispatch, such as in the gateway.",
            )
        self._allowed = allowed

    def dispatching(self, envelope: Envelope[Any]) -> Envelope[Any]:
        """Ask the function; note the principal in the headers of what passes."""
        principal = _principal_of(envelope)
        of_handler = envelope.causation_id is not None
        # Only True is a yes: a coroutine that nobody awaited, or a text that says why not, would count as one.
        if not (of_handler and type(envelope.message).__kind__ == "event"):
            verdict: object = self._allowed(envelope, principal)
            if verdict is not True:
                raise NotAllowedError(type(envelope.message).__name__, principal)
        headers = envelope.headers or {}
        if principal is None or headers.get(PRINCIPAL) == principal:
            return envelope
        return envelope.with_headers({**headers, PRINCIPAL: principal})


def _principal_of(envelope: Envelope[Any]) -> str | None:
    """Find who sends a message. What the code around it says counts more than a header, which may come from a client."""
    handling, acting = handling_now.get(), _acting.get()
    if acting is not None and acting[1] is handling:
        return acting[0]
    return (envelope.headers or {}).get(PRINCIPAL) or current_principal()
