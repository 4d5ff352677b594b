"""Waiting, in a test, for something that happens beside it. Bounded: it fails after a few seconds."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable


async def eventually(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Return once the condition holds; fail the test when it does not within some seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"It did not happen within {seconds:g} s.")
        await asyncio.sleep(0.002)


async def noticed_sooner_or_later(check: Callable[[int], Awaitable[object]], pattern: str, tries: int = 6) -> None:
    """Check, with 1, 2 and so on, until a check fails as it should; for a planted bug that needs some luck to do harm."""
    for number in range(1, tries + 1):
        try:
            await check(number)
        except AssertionError as error:
            if re.search(pattern, str(error)):
                return
    raise AssertionError(f"Nothing that matches {pattern!r} was noticed in {tries} tries.")
