"""Waits until whoever started a server is gone, however that went, and then leaves nothing of it.

`python -m tests.servers.guard FOLDER PID...`, with an input that ends with the process that started the server.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.servers.processes import wait_until_gone, with_descendants

_ROOT = Path(__file__).parents[2]


def guard(folder: Path, pids: Sequence[int]) -> subprocess.Popen[bytes]:
    """Have these processes killed and the folder deleted when this process is gone.

    Linux also offers a signal at the death of a parent. It comes when the thread ends that started the child, and tests
    start servers in threads.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "tests.servers.guard", str(folder), *map(str, pids)],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def _main(folder: str, *pids: str) -> None:
    sys.stdin.buffer.read()
    alive = with_descendants([int(pid) for pid in pids])
    for pid in alive:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until_gone(alive)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
