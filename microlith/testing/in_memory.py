"""An application run on a store in memory, for one test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from microlith.application import Microlith


@asynccontextmanager
async def in_memory(app: Microlith) -> AsyncIterator[Microlith]:
    """Run an application on an empty store in memory, and stop it at the end.

    The application is the real one, with its handlers, projections and resources; only where its
    events are kept differs. Afterwards it has the store it was declared with again.
    """
    declared, app.store_url = app.store_url, "memory:"
    try:
        async with app:
            yield app
    finally:
        app.store_url = declared
