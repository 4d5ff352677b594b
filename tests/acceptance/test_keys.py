"""The keys of `microlith run`, in a terminal of its own."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.live_project import PATIENCE, Attached

pytestmark = pytest.mark.terminal

SPAWN = """
import os, pty, sys, termios
run = [sys.executable, "-m", "microlith_cli", "--color", "never", "run"]
code = os.waitstatus_to_exitcode(pty.spawn(["/bin/sh", "-c", 'trap : INT; "$@"; code=$?; stty -a | grep -o "[-]\\\\?icanon\\\\|[-]\\\\?echo "; exit $code', "sh", *run]))
sys.exit(code)
"""


class Terminal:
    """What is on the screen so far, and the keyboard."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.shown = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def press(self, keys: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(keys.encode())
        self.process.stdin.flush()

    def shows(self, text: str, *, after: int = 0) -> int:
        """Wait until something is on the screen; returns where it ends."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown[after:]:
            assert time.monotonic() < deadline, f"{text!r} is not in:\n{self.shown[after:]}"
            time.sleep(0.01)
        return self.shown.index(text, after) + len(text)

    def ended(self) -> int:
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        while data := os.read(self.process.stdout.fileno(), 4096):
            self.shown += data.decode()


@contextmanager
def terminal(root: Path) -> Iterator[Terminal]:
    process = subprocess.Popen(
        [sys.executable, "-c", SPAWN],
        cwd=root,
        env={**os.environ, "TERM": "xterm"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        try:
            Attached(root).serving()
            shown = Terminal(process)
            shown.shows("q quit")
            yield shown
        finally:
            if process.poll() is None:
                process.kill()


def test_q_ends_the_run_in_good_order_and_leaves_the_terminal_as_it_was(project):
    with terminal(project) as shown:
        shown.press("q")

        assert shown.ended() == 0
        assert "Stopped." in shown.shown
        assert shown.shown.split()[-2:] == ["icanon", "echo"]


def test_interrupt_while_a_filter_is_typed_leaves_the_terminal_as_it_was(project):
    with terminal(project) as shown:
        shown.press("f")
        shown.shows("filter: ")
        shown.press("bus:ev\x03")

        assert shown.ended() == 0
        assert shown.shown.split()[-2:] == ["icanon", "echo"]


def test_r_reloads_without_a_save(project):
    with terminal(project) as shown:
        shown.press("r")

        Attached(project).serving(2)
        shown.shows("reloaded")


def test_d_sends_the_last_message_again(project):
    with terminal(project) as shown:
        running = Attached(project)
        shown.press("d")
        shown.shows("Nothing was dispatched")
        running.dispatch("Say", {"number": 7}, wait=["SaidEvent"])
        first = shown.shows("Say  number=7")

        shown.press("d")

        shown.shows("Say is sent again.", after=first)
        shown.shows("Say  number=7", after=first)


def test_p_keeps_facts_back_and_shows_them_afterwards(project):
    with terminal(project) as shown:
        shown.press("p")
        paused = shown.shows("Paused")
        Attached(project).dispatch("Say", {"number": 8}, wait=["SaidEvent"])
        time.sleep(0.3)
        assert "number=8" not in shown.shown

        shown.press("p")

        shown.shows("number=8", after=paused)


def test_f_shows_only_what_passes_and_nothing_goes_through_the_line_that_is_typed(project):
    with terminal(project) as shown:
        running = Attached(project)
        shown.press("f")
        typed = shown.shows("filter: ")
        shown.press("data.number=9")
        shown.shows("data.number=9", after=typed)
        running.dispatch("Say", {"number": -5}, wait=["SaidEvent"])
        time.sleep(0.3)
        assert shown.shown[typed:] == "data.number=9"

        shown.press("\n")
        taken = shown.shows("is shown", after=typed)
        running.dispatch("Say", {"number": 8}, wait=["SaidEvent"])
        running.dispatch("Say", {"number": 9}, wait=["SaidEvent"])

        shown.shows("number=9", after=taken)
        assert "number=8" not in shown.shown


def test_a_filter_that_cannot_be_meant_changes_nothing(project):
    with terminal(project) as shown:
        shown.press("f")
        shown.shows("filter: ")
        shown.press("frob:x\n")
        told = shown.shows("which is no key")

        Attached(project).dispatch("Say", {"number": 3}, wait=["SaidEvent"])

        shown.shows("number=3", after=told)


def test_e_shows_payloads_field_by_field(project):
    with terminal(project) as shown:
        shown.press("e")
        told = shown.shows("shown whole")

        Attached(project).dispatch("Say", {"number": 4}, wait=["SaidEvent"])

        shown.shows("\r\n                        number=4\r\n", after=told)
        assert "hunter22" not in shown.shown


def test_no_keys_are_offered_where_nobody_can_press_them(project):
    with subprocess.Popen(
        [sys.executable, "-m", "microlith_cli", "run"],
        cwd=project,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        Attached(project).serving()
        process.terminate()
        assert process.stderr is not None
        assert b"q quit" not in process.stderr.read()
