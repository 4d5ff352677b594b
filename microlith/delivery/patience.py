"""Patience with a database that is away: what is tried again until it is back.

Whoever waits outside is told at once; what is on its way inside waits.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from microlith.errors import StoreAwayError

T = TypeVar("T")

PAUSE_SECONDS = 0.5
"""How soon a store whose database is away is asked again. It has waited some seconds by then itself."""


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask a store until its database answers.

    Raises:
        StoreError: What is wrong is something else, such as that the store was closed meanwhile.
    """
    while True:
        try:
            return await ask()
        except StoreAwayError:
            await asyncio.sleep(PAUSE_SECONDS)
