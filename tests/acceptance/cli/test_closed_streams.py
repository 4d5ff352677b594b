"""The tool, started without some of its standard streams."""

import subprocess
import sys

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
