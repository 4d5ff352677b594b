"""`microlith run --all`: a process for each component over a real broker, one tracer over all, and one end."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from microlith_cli.errors import ToolError
from tests.acceptance.apart import make_shop, status, tool, until_it_serves
from tests.acceptance.terminals import terminal
from tests.eventually import eventually

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(240)]

NAMES = ("auth", "mail")
REGISTER = ("dispatch", "RegisterCommand", "--password", "right", "--timeout", "30s", "--wait", "WelcomeSentEvent")


@pytest.fixture
def shop(tmp_path, rabbitmq_url):
    return make_shop(tmp_path, rabbitmq_url)


class All:
    """One `run --all --json`, and the objects that it has written."""

    def __init__(self, run: subprocess.Popen[str]) -> None:
        self.run = run
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self, fits, seconds: float = 60) -> dict[str, Any]:
        """Wait for an object that fits, and pass over those before it; raises Empty when none comes for so long."""
        while True:
            line = self._lines.get(timeout=seconds)
            if fits(line):
                return line

    def _read(self) -> None:
        for line in self.run.stdout or ():
            self._lines.put(json.loads(line))


@contextmanager
def running_all(shop: Path, *options: str) -> Iterator[All]:
    command = [sys.executable, "-m", "microlith_cli", "run", "--all", "--json", *options]
    said = (shop / "said.txt").open("a")
    with said, subprocess.Popen(command, cwd=shop, stdout=subprocess.PIPE, stderr=said, text=True) as run:
        try:
            yield All(run)
        finally:
            run.kill()  # nothing of a test is left; those that it keeps end by themselves


def processes(shop: Path) -> list[int]:
    """The process ids of the components' processes and of their workers."""
    found = [status(shop, name) for name in NAMES]
    return [one[which] for one in found for which in ("pid", "worker_pid")]


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until_all_serve(shop: Path) -> list[int]:
    for name in NAMES:
        await until_it_serves(shop, name)
    return processes(shop)


async def test_each_component_has_a_process_and_one_tracer_shows_all_until_one_ctrl_c(shop):
    with running_all(shop) as everything:
        card = everything.next(lambda line: "serving" in line)["serving"]
        pids = await until_all_serve(shop)
        sent = tool(*REGISTER, "--email", "a@b.c", "--json", cwd=shop)
        told = [everything.next(lambda line: line.get("type") == "WelcomeSentEvent")]
        handler = shop / "shop" / "mail" / "handlers" / "welcome.py"
        handler.write_text(handler.read_text().replace("email=event.email)", "email=event.email.upper())", 1))
        reloaded = {everything.next(lambda line: line.get("type") == "microlith.reloaded")["process"] for _ in NAMES}
        await until_all_serve(shop)
        newer = tool(*REGISTER, "--email", "d@e.f", "--json", cwd=shop)
        pids += processes(shop)

        everything.run.send_signal(signal.SIGINT)
        code = everything.run.wait(60)

    assert (card["processes"], len(set(pids))) == (["auth", "mail"], 6)
    assert [place.partition("127.0.0.1")[0] for place in card["buses"].values()] == ["rabbitmq://"] * 3
    assert (sent.returncode, newer.returncode) == (0, 0), (sent.stderr, newer.stderr)
    assert told[0]["process"] in NAMES
    assert reloaded == {"auth", "mail"}
    assert json.loads(newer.stdout)["data"] == {"email": "D@E.F"}
    assert code == 0, (shop / "said.txt").read_text()
    assert [pid for pid in pids if lives(pid)] == []


async def test_none_is_left_when_the_keeper_is_killed_and_all_can_run_again(shop):
    with running_all(shop, "--no-reload") as everything:
        pids = await until_all_serve(shop)
        everything.run.kill()
        await eventually(lambda: not any(map(lives, pids)), seconds=30)

    with running_all(shop, "--no-reload") as everything:
        everything.next(lambda line: "serving" in line)
        again = await until_all_serve(shop)
        everything.run.send_signal(signal.SIGTERM)
        assert everything.run.wait(60) == 0, (shop / "said.txt").read_text()

    assert not any(map(lives, again))


async def test_process_that_is_killed_is_started_again_and_is_shown_again(shop):
    with running_all(shop, "--no-reload") as everything:
        everything.next(lambda line: "serving" in line)
        before = (await until_all_serve(shop))[2]
        os.kill(before, signal.SIGKILL)

        def another() -> bool:
            with suppress(ToolError):
                return bool(status(shop, "mail")["pid"] != before)
            return False

        await eventually(another, seconds=60)
        await until_all_serve(shop)
        handled = None
        for number in range(20):  # what is handled before it is followed again is in its log, and not shown
            sent = tool(*REGISTER, "--email", f"a{number}@b.c", cwd=shop)
            assert sent.returncode == 0, sent.stderr
            with suppress(queue.Empty):
                handled = everything.next(lambda line: line.get("data", {}).get("handler") == "mail.welcome", 3)
                break
        everything.run.send_signal(signal.SIGINT)
        code = everything.run.wait(60)

    assert handled is not None
    assert (handled["process"], code) == ("mail", 0), (shop / "said.txt").read_text()
    assert "ended by signal 9" in (shop / "said.txt").read_text()


def test_component_that_runs_already_ends_all_and_is_named(shop):
    command = [sys.executable, "-m", "microlith_cli", "run", "--component", "mail", "--no-reload"]
    with subprocess.Popen(command, cwd=shop, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as other:
        try:
            lock = shop / ".microlith" / "mail" / "control.lock"
            while other.poll() is None and not (lock.exists() and lock.read_text()):
                time.sleep(0.05)
            ended = tool("run", "--all", "--no-reload", cwd=shop)
        finally:
            other.terminate()

    assert ended.returncode == 1, ended.stderr
    assert "mail | error" in ended.stderr


@pytest.mark.terminal
def test_one_ctrl_c_at_a_terminal_ends_all_in_good_order(shop):
    with terminal(shop, "run", "--all", "--no-reload") as screen:
        screen.shows("processes")
        screen.shows("auth, mail")
        pids = processes(shop)
        sent = tool(*REGISTER, "--email", "a@b.c", cwd=shop)
        screen.shows("mail.welcome")

        screen.press("\x03")

        assert screen.ended() == 0
    assert sent.returncode == 0
    assert not any(map(lives, pids))


def test_buses_in_memory_are_refused(tmp_path):
    assert tool("new", "app", "shop", cwd=tmp_path).returncode == 0

    ended = tool("run", "--all", cwd=tmp_path / "shop")

    assert ended.returncode == 2
    assert "do not reach from one process to another" in ended.stderr


def test_code_that_does_not_import_is_named(shop):
    (shop / "shop" / "mail" / "handlers" / "welcome.py").write_text("import nothing_of_that_name\n")

    ended = tool("run", "--all", cwd=shop)

    assert ended.returncode == 1
    assert "nothing_of_that_name" in ended.stderr
