"""An application run on a store in memory, for one test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from microlith.application import Microlith
from microlith.testing.virtual_clock import VirtualClock


@asynccontextmanager
async def in_memory(app: Microlith, *, clock: VirtualClock | None = None) -> AsyncIterator[Microlith]:
    """Run an application on an empty store in memory, and stop it at the end.

    The application is the real one, with its handlers, projections and resources; only where its
    events are kept differs, and that all components and buses are in this process. Afterwards all is as it was declared.

    Args:
        app: The application.
        clock: What its schedules go by; by default the clock of the machine.
    """
    declared, app.store_url = app.store_url, "memory:"
    buses, app.buses = app.buses, {}
    try:
        with nullcontext() if clock is None else clock.ticking(app):
            async with app:
                yield app
    finally:
        app.store_url, app.buses = declared, buses
