"""Waiting, in a test, for something that happens beside it. Bounded: it fails after a few seconds."""

import asyncio
import time
from collections.abc import Callable


async def eventually(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Return once the condition holds; fail the test when it does not within some seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"It did not happen within {seconds:g} s.")
        await asyncio.sleep(0.002)
