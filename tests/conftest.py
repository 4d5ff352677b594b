"""What every test may ask for, and how Hypothesis behaves.

A missing tool or server is a skip that says so, and a failure where CI is set: there, everything must run.
"""

import os
import shutil
import signal
from collections.abc import Callable
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.leftovers", "tests.servers.fixtures"]

# A shared or slow machine is no counterexample; a failure prints what repeats it.
settings.register_profile("microlith", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("microlith")

# A shell starts what runs in its background deaf to interrupts, and so would be every program a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def unavailable() -> Callable[[str], NoReturn]:
    """End a test that lacks something: `unavailable("tmux is not installed")`."""

    def end(reason: str) -> NoReturn:
        if os.environ.get("CI"):
            pytest.fail(f"{reason}, and CI runs every test")
        pytest.skip(reason)

    return end


@pytest.fixture(scope="session")
def require(unavailable: Callable[[str], NoReturn]) -> Callable[[str], str]:
    """Find a program, or end the test: `tmux = require("tmux")` gives its path."""

    def find(program: str) -> str:
        found = shutil.which(program)
        return found if found is not None else unavailable(f"{program} is not installed")

    return find
