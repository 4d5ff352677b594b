"""The tool, started without some of its standard streams."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.cli.shop import Tool

CALLS = ["--help", "list", "replay projection --all", "completion bash", "list --json"]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("call", CALLS)
def test_a_stream_that_is_closed_changes_nothing_of_the_outcome(tool: Tool, call: str, closed: str):
    shell = f'"$0" -m microlith_cli {call} {closed}'

    command = ["/bin/sh", "-c", shell, sys.executable]
    ended = subprocess.run(command, cwd=tool.folder, capture_output=True, timeout=30, check=False)

    assert ended.returncode == 0
    assert b"Traceback" not in ended.stdout + ended.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
@pytest.mark.parametrize("call", ["--help", "--version", "list", "list --json", "completion bash"])
def test_output_onto_a_full_disk_is_told_in_a_line(tool: Tool, call: str):
    shell = f'exec "$0" -m microlith_cli {call} > /dev/full'

    command = ["/bin/sh", "-c", shell, sys.executable]
    ended = subprocess.run(command, cwd=tool.folder, capture_output=True, text=True, timeout=30, check=False)

    assert ended.returncode == 1
    assert ended.stderr.startswith("error The output could not be written: No space left on device.\n")
    assert "Traceback" not in ended.stderr
