"""`microlith replay projection`: read models are built anew, beside the ones that serve."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.live_project import live, until

pytestmark = pytest.mark.timeout(120)


def replay(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "microlith_cli", "replay", "projection", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def said(project: Path) -> Path:
    """The project, with three numbers said."""
    with live(project) as running:
        running.serving()
        for number in (1, 2, 3):
            running.dispatch("Say", {"number": number})
        until(lambda: running.totals() == (3, 3), "not everything was handled")
    return project


def test_running_application_rebuilds_and_goes_on_serving(said):
    with live(said) as running:
        running.serving()

        done = replay(said, "--all", "--json")

        assert running.totals() == (3, 3)
    assert done.returncode == 0, done.stderr
    (rebuilt,) = map(json.loads, done.stdout.splitlines())
    assert (rebuilt["projection"], rebuilt["events"], rebuilt["changed"]) == ("desk.seen", 3, False)


def test_replay_runs_no_handler_and_writes_no_event(said):
    before = replay(said, "desk.seen", "--json")
    after = replay(said, "desk.seen", "--json")

    assert json.loads(before.stdout)["events"] == json.loads(after.stdout)["events"] == 3
    assert "once" in before.stderr


def test_rows_of_changed_code_are_said_to_have_changed(said):
    projection = said / "echo" / "desk" / "projections" / "seen.py"
    projection.write_text(projection.read_text().replace("times=row.times + 1", "times=row.times + 10"))

    done = replay(said, "desk.seen")

    assert done.returncode == 0, done.stderr
    assert "rows changed" in done.stdout


@pytest.mark.parametrize("arguments", [(), ("desk.seen", "--all"), ("desk.sen",)], ids=["none", "both", "unknown"])
def test_replay_refuses_what_cannot_be_meant(said, arguments):
    done = replay(said, *arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    assert "hint" in done.stderr
