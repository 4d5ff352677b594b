"""No test leaves a connection to SQLite open, nor a thread running.

The garbage collector closes such a connection during a later test, which then fails by the warning; a thread takes
signals that a later test sends to the process, and time from everything. Here the test fails that is to blame.
"""

import sqlite3
import sys
import threading
import time
from collections.abc import Iterator

import pytest

PATIENCE = 30.0
"""Seconds for threads that are about to end."""
_FRAMES = 12

_opened: list[tuple[sqlite3.Connection, str]] = []


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event == "sqlite3.connect/handle" and isinstance(arguments[0], sqlite3.Connection):
        _opened.append((arguments[0], _place()))


def _place() -> str:
    """Where this was called from, outside of the standard library."""
    places, frame = [], sys._getframe(2)
    for _ in range(_FRAMES):
        places.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        if frame.f_back is None:
            break
        frame = frame.f_back
    return "\n  ".join(places)


def _is_open(connection: sqlite3.Connection) -> bool:
    try:
        _ = connection.total_changes
    except sqlite3.ProgrammingError:
        return False
    return True


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Fail a test that leaves something behind. What fixtures of a wider scope hold is theirs."""
    threads = set(threading.enumerate())
    _opened.clear()
    yield
    left = [f"a connection to SQLite, opened at\n  {place}" for connection, place in _opened if _is_open(connection)]
    _opened.clear()
    deadline = time.monotonic() + PATIENCE
    while (running := set(threading.enumerate()) - threads) and time.monotonic() < deadline:
        time.sleep(0.005)
    left += [f"the thread {thread.name!r}" for thread in running]
    if left:
        pytest.fail("\n".join(["the test left behind:", *left]), pytrace=False)


sys.addaudithook(_note)
