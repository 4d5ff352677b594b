"""The pytest plugin: `in_memory`, which runs an application for one test."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from microlith.application import Microlith
from microlith.testing.in_memory import in_memory as run_in_memory


def pytest_configure() -> None:
    """Let a failing contract test show the values it compared."""
    pytest.register_assert_rewrite("microlith.testing.event_store_contract")


@pytest.fixture
def in_memory() -> Callable[[Microlith], AbstractAsyncContextManager[Microlith]]:
    """Offer what runs an application on a store in memory for one test, as an asynchronous context manager."""
    return run_in_memory
