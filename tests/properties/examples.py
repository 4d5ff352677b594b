"""How many examples the property tests try: 1,000 in all, or as many as MICROLITH_EXAMPLES says.

MICROLITH_EXAMPLES=100000 python -m pytest tests/properties
"""

import asyncio
import os
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings

T = TypeVar("T")

EXAMPLES = int(os.environ.get("MICROLITH_EXAMPLES", "1000"))
TIMEOUT = max(300, EXAMPLES // 5)
"""Seconds: so slow is no machine."""


def share(part: float) -> settings:
    """Settings of one test that tries a part of all examples."""
    return settings(
        max_examples=max(10, round(EXAMPLES * part)),
        stateful_step_count=12,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


_MEMORY = Path("/dev/shm")


def scratch() -> "tempfile.TemporaryDirectory[str]":
    """Make a folder, in memory where there is such a place: a disk would only make it slow."""
    return tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None)


class Loop:
    """An event loop for a state machine, whose steps are plain functions."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def run(self, work: Awaitable[T]) -> T:
        """Run one step to its end."""

        async def step() -> T:
            return await work

        return self._runner.run(step())

    def close(self) -> None:
        """End the loop."""
        self._runner.close()
