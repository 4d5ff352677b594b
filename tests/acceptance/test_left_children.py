"""A program that the application started, and that outlives it: it holds the worker's output open, and nobody waits for it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.live_project import Live, live, lives, workers_of

pytestmark = pytest.mark.timeout(120)

LEAVE_A_CHILD = """\
import subprocess
from pathlib import Path

from microlith import Microlith

# In a session of its own: what ends with the worker's process group does not end it.
child = subprocess.Popen(["sleep", "120"], start_new_session=True)
Path("child.pid").write_text(str(child.pid))

app = Microlith("echo", components="echo")
"""


@pytest.fixture
def running(project: Path) -> Iterator[Live]:
    (project / "echo" / "app.py").write_text(LEAVE_A_CHILD, "utf-8")
    with live(project) as running:
        running.serving()
        child = int((project / "child.pid").read_text())
        try:
            assert lives(child)
            yield running
            assert lives(child)
        finally:
            os.kill(child, signal.SIGKILL)


def test_run_ends_with_0(running: Live):
    running.signal(signal.SIGINT)

    assert running.wait() == 0
    assert not workers_of(running.root)
    assert "Traceback" not in running.everything()


def test_a_worker_that_died_is_replaced(running: Live):
    died = running.serving()["worker_pid"]

    os.kill(died, signal.SIGKILL)

    assert running.serving(generation=2)["worker_pid"] != died
