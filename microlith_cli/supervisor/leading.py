"""Which of the processes that share a store leads: this one or another.

Decides nothing: the store says who leads, and the runtime what that one does alone.
"""

import asyncio
from collections.abc import Callable
from time import monotonic

from microlith import Microlith
from microlith.event_store.protocol import EventStore
from microlith.event_store.sharing import LedElsewhereError
from microlith_cli.sharing import says_shared

_LOOKS_AGAIN = 0.2
"""Seconds between two looks whether this process leads; one that takes the lead does so seconds after the other has gone."""

_LEARNS_SECONDS = 2.0
"""How long a process that has just begun to share a store may take to learn who leads; nobody may, too."""


def shares(app: Microlith) -> bool:
    """Tell whether several processes may work on the store of an application."""
    return says_shared(app.store_place())


async def check_leads(store: EventStore, wanted: str) -> None:
    """Refuse what only the process that leads can do.

    Raises:
        LedElsewhereError: This one does not lead; names the one that does.
    """
    sharing, deadline = store.sharing, monotonic() + _LEARNS_SECONDS
    while sharing is not None and not store.leads:
        if sharing.leader or monotonic() > deadline:
            raise LedElsewhereError(wanted, sharing.leader)
        await asyncio.sleep(_LOOKS_AGAIN)


async def watch(app: Microlith, last: bool, tell: Callable[[bool], None]) -> None:
    """Tell whenever this process takes the lead or loses it, until its store writes no more; `last` was told before."""
    while app.delivery is None or app.store.failure is None:
        if app.delivery is not None and (now := app.store.leads) != last:
            last = now
            tell(now)
        await asyncio.sleep(_LOOKS_AGAIN)
