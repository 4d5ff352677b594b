"""Which of the processes that share a store leads: this one or another.

Decides nothing: the store says who leads, and the runtime what that one does alone.
"""

import asyncio
from collections.abc import Callable

from microlith import Microlith
from microlith.event_store.protocol import EventStore
from microlith_cli.errors import ToolError
from microlith_cli.sharing import says_shared

_LOOKS_AGAIN = 0.2
"""Seconds between two looks whether this process leads; one that takes the lead does so seconds after the other has gone."""


class NotLeadingError(ToolError):
    """Only the process that leads the store can do this, and this one does not.

    Args:
        wanted: What was to be done.
        leader: Who leads, as far as that is known; empty when it is not.
    """

    def __init__(self, wanted: str, leader: str) -> None:
        super().__init__(
            f"This process shares its store, and another one leads it{f': {leader}' if leader else ''}. "
            f"Only the one that leads can {wanted}.",
            hint="Ask that one, where it runs. When it ends, another one leads within seconds.",
        )
        self.leader = leader


def shares(app: Microlith) -> bool:
    """Tell whether several processes may work on the store of an application."""
    return says_shared(app.store_place())


def leads(store: EventStore) -> bool:
    """Tell whether this process leads its store; one that has it for itself always does."""
    return bool(getattr(store, "leads", True))


def check_leads(store: EventStore, wanted: str) -> None:
    """Refuse what only the process that leads can do.

    Raises:
        NotLeadingError: This one does not lead; names the one that does.
    """
    if not leads(store):
        raise NotLeadingError(wanted, str(getattr(store, "leader", "") or ""))


async def watch(app: Microlith, last: bool, tell: Callable[[bool], None]) -> None:
    """Tell whenever this process takes the lead or loses it, until cancelled; `last` is what was told before."""
    while True:
        if app.delivery is not None and (now := leads(app.store)) != last:
            last = now
            tell(now)
        await asyncio.sleep(_LOOKS_AGAIN)
