"""What a test leaves behind fails it."""

import subprocess
import sys
from pathlib import Path

LEAVING = """\
import sqlite3
import threading

from tests import leftovers

leftovers.PATIENCE = 0.5
left = []


def test_connection_that_is_left_open():
    left.append(sqlite3.connect(":memory:"))


def test_connection_that_is_closed():
    sqlite3.connect(":memory:").close()


def test_thread_that_is_left():
    ending = threading.Event()
    left.append(ending)
    threading.Thread(target=ending.wait, args=(30,), daemon=True, name="forgotten").start()


def test_thread_that_ends():
    threading.Timer(0.1, print).start()
"""


def test_connections_and_threads_are_seen_and_named(tmp_path: Path):
    file = tmp_path / "test_leaving.py"
    file.write_text(LEAVING, "utf-8")

    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.leftovers",
            "-c",
            "/dev/null",
            f"--rootdir={tmp_path}",
            str(file),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "4 passed, 2 errors" in ended.stdout
    assert "test_leaving.py::test_connection_that_is_left_open" in ended.stdout
    assert f"a connection to SQLite, opened at\n  {file}:11\n" in ended.stdout
    assert "test_leaving.py::test_thread_that_is_left" in ended.stdout
    assert "the thread 'forgotten'\n" in ended.stdout
