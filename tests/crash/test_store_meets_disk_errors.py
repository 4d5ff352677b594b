"""A disk that is full, or that fails to sync: every write has a definite or an honestly unknown outcome."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
OK, REFUSED, UNKNOWN = "ok", "StoreUnavailableError", "UnknownOutcomeError"


def live_through(fault: str, directory: Path, library: str) -> dict[str, Any]:
    """Run a store through a fault in a process of its own; return what became of its writes."""
    root, shadow = directory / "root", directory / "shadow"
    root.mkdir()
    shadow.mkdir()
    environment = {**os.environ, "LD_PRELOAD": library, "FAULT_ROOT": str(root), "FAULT_SHADOW": str(shadow)}
    command = [sys.executable, "-m", "tests.crash.failing_store", fault]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, timeout=50)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.crash
@pytest.mark.parametrize("fault", ["write", "limit"])
def test_full_disk_is_a_definite_failure_and_passes(tmp_path: Path, disk_faults: str, fault: str):
    told = live_through(fault, tmp_path, disk_faults)

    assert told["before"] == told["after"] == [OK] * 5
    assert told["during"][-1] == REFUSED
    assert set(told["during"]) <= {OK, REFUSED}
    assert told["failure"] == "NoneType"
    assert told["read"] == 5 + told["during"].count(OK)
    written = told["read"] + 5
    assert (len(told["found"]), told["verified"], told["folded"]) == (written, written, written)
    assert told["pending"] == 0, "a settlement that nobody waited for is written when there is room again"


@pytest.mark.crash
def test_failed_sync_ends_all_writing_and_is_not_tried_again(tmp_path: Path, disk_faults: str):
    told = live_through("sync", tmp_path, disk_faults)

    assert told["before"] == [OK] * 5
    assert told["during"] == [UNKNOWN] + [REFUSED] * 19
    assert told["after"] == [REFUSED] * 5
    assert told["failure"] == UNKNOWN
    assert told["read"] >= 5, "reading goes on"
    assert set(told["found"]) <= {"before", "during"}
    assert told["found"].count("before") == 5
    assert len(told["found"]) in {5, 6}, "the one whose outcome is unknown may be there, and no other"
    assert told["verified"] == told["folded"] == len(told["found"])
    assert told["pending"] == 1
