"""The pytest plugin: `in_memory`, which runs an application for one test, and `virtual_clock`."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest

from microlith.application import Microlith
from microlith.testing.in_memory import in_memory as run_in_memory
from microlith.testing.virtual_clock import VirtualClock


class InMemory(Protocol):
    """What the fixture `in_memory` offers."""

    def __call__(self, app: Microlith, *, clock: VirtualClock | None = None) -> AbstractAsyncContextManager[Microlith]:
        """Run an application on a store in memory."""
        ...


def pytest_configure() -> None:
    """Let a failing contract test show the values it compared."""
    pytest.register_assert_rewrite("microlith.testing.event_store_contract")


@pytest.fixture
def in_memory() -> InMemory:
    """Offer what runs an application on a store in memory for one test, as an asynchronous context manager."""
    return run_in_memory


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """Give a clock that stands still until the test moves it: `in_memory(app, clock=virtual_clock)`."""
    return VirtualClock()
