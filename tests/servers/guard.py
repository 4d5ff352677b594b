"""Waits until whoever started a server is gone, however that went, and then leaves nothing of it.

`python -m tests.servers.guard FOLDER` reads the pids of the server's processes, a line each, from an input that ends
with the process that started the server.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.servers.processes import kill

_ROOT = Path(__file__).parents[2]


def start_guard(folder: Path) -> subprocess.Popen[bytes]:
    """Have a folder deleted when this process is gone, and the processes killed whose pids are written to its input.

    Linux also offers a signal at the death of a parent. It comes when the thread ends that started the child, and tests
    start servers in threads.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "tests.servers.guard", str(folder)],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def _main(folder: str) -> None:
    kill([int(line) for line in sys.stdin])
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
