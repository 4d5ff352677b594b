"""The end of `microlith run`: in good order at the first signal, at once at the second, whatever it is attached to."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from microlith_cli.supervisor.supervisor import STOP_DRAIN
from tests.acceptance.live_project import PATIENCE, Attached, Live, Sender, live, lives, until, workers_of

pytestmark = pytest.mark.timeout(120)

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def sleep_in(running: Live, seconds: float) -> None:
    """Have a handler run that takes some seconds."""
    running.dispatch("Sleep", {"seconds": seconds})
    running.printed("sleeping")


@contextmanager
def shell_run(root: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Run a project with its stdout in a pipe that only the test reads; it waits until it serves."""
    process = subprocess.Popen(
        [sys.executable, "-m", "microlith_cli", "run", *arguments],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    with process, process.stdout as reader:
        try:
            Attached(root).serving()
            yield process, reader
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize("number", [INT, TERM, HUP], ids=lambda number: number.name)
def test_first_signal_ends_an_idle_run_with_0(project, number):
    with live(project) as running:
        running.serving()

        running.signal(number)

        assert running.wait() == 0
    assert not workers_of(project)
    assert not (project / ".microlith" / "control.sock").exists()
    assert "Traceback" not in running.everything()


@pytest.mark.parametrize("number", [INT, TERM], ids=lambda number: number.name)
def test_what_is_under_way_is_finished_first(project, number):
    with live(project) as running:
        running.serving()
        with running.session() as session:
            replies = session.request(
                {"verb": "dispatch", "type": "Sleep", "data": {"seconds": 1}, "wait": ["SleptEvent"], "timeout": 30},
                patience=60,
            )
            next(replies)
            running.printed("sleeping")

            running.signal(number)
            answer = list(replies)

        assert answer[-1]["exit"] == 0
        assert running.wait() == 0


def test_no_message_is_taken_while_stopping(project):
    with live(project) as running:
        running.serving()
        with running.session() as session:
            sleep_in(running, 1)

            running.signal(TERM)
            running.printed("Stopping")
            refused = list(session.request({"verb": "dispatch", "type": "Say", "data": {"number": 1}}, patience=10))

        assert refused[-1]["exit"] == 4
        assert refused[-1]["error"]["type"] == "ClosedError"
        assert running.wait() == 0


@pytest.mark.parametrize(("number", "code"), [(INT, 130), (TERM, 143)])
def test_second_signal_ends_it_at_once(project, number, code):
    with live(project) as running:
        running.serving()
        sleep_in(running, 30)
        workers = workers_of(project)
        running.signal(number)
        running.printed("Stopping")

        began = time.monotonic()
        running.signal(number)

        assert running.wait() == code
        assert time.monotonic() - began < STOP_DRAIN / 2
    assert not any(map(lives, workers))


@pytest.mark.slow
def test_what_does_not_finish_in_time_is_counted_and_carried_on_later(project):
    with live(project) as running:
        running.serving()
        sleep_in(running, 12.5)

        began = time.monotonic()
        running.signal(TERM)

        assert running.wait(30) == 1
        assert time.monotonic() - began > 0.9 * STOP_DRAIN
        running.printed("not finished: 1")

    with live(project) as running:
        running.printed("sleeping")
        running.printed("SleptEvent", seconds=30)


def test_client_may_stop_it(project):
    with live(project) as running:
        running.serving()

        assert running.ask("stop")[-1]["exit"] == 0

        assert running.wait() == 0


def test_signal_ends_a_run_that_never_served(project):
    (project / "echo" / "app.py").write_text("import time\ntime.sleep(60)\n")
    with live(project) as running:
        until(lambda: workers_of(project), "no worker was started")

        running.signal(TERM)

        assert running.wait(20) == 0
    assert not workers_of(project)


def test_signal_ends_a_run_that_waits_to_be_mended(project):
    (project / "echo" / "app.py").write_text("app = \n")
    with live(project) as running:
        running.printed("until a save mends it")

        running.signal(INT)

        assert running.wait(20) == 0
    assert not workers_of(project)


def test_signal_during_a_reload_loses_nothing(project):
    with live(project) as running:
        running.serving()
        sleep_in(running, 1)
        running.save_words("two")

        running.signal(TERM)

        assert running.wait(20) == 0
    assert not workers_of(project)

    with live(project) as running:
        running.serving()
        assert running.words() == "two"


@pytest.mark.parametrize("pause", [0.0, 0.05, 0.2, 0.4])
def test_accepted_messages_survive_a_signal_at_any_point(project, pause):
    with live(project) as running:
        running.serving()
        sender = Sender(running)
        sender.start()
        until(lambda: sender.accepted > 5, "nothing is accepted")

        running.save_words("two")
        time.sleep(pause)
        running.signal(TERM)
        assert running.wait(20) == 0
        accepted = sender.accepted

    with live(project) as running:
        running.serving()
        until(lambda: running.totals()[0] >= accepted, "an accepted message was lost")
        numbers, said = running.totals()
        assert numbers == said


def test_closed_stdout_does_not_end_a_run_nor_keep_it(project):
    with shell_run(project, "--no-reload") as (process, reader):
        reader.close()

        Attached(project).words()
        process.send_signal(TERM)

        assert process.wait(PATIENCE) == 0
    assert not workers_of(project)


def test_json_run_ends_when_nobody_reads_it(project):
    with shell_run(project, "--json") as (process, reader):
        reader.close()

        Attached(project).dispatch("Say", {"number": 1})

        assert process.wait(PATIENCE) == 0
    assert not workers_of(project)


def test_stalled_reader_costs_a_client_nothing_and_does_not_keep_the_run(project):
    with shell_run(project, "--json") as (process, _):
        running = Attached(project)
        with running.session() as session:
            for number in range(1, 2_000):  # some megabytes of facts, where a pipe holds 64 KiB
                list(
                    session.request({"verb": "dispatch", "type": "Say", "data": {"number": number}}, patience=PATIENCE)
                )
        until(lambda: running.totals() == (1_999, 1_999), "not everything was handled")

        process.send_signal(TERM)

        assert process.wait(PATIENCE) == 0
    assert not workers_of(project)


@contextmanager
def terminal_run(root: Path) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Run a project in a terminal of its own; gives the process that holds it, and the keyboard."""
    run = [sys.executable, "-m", "microlith_cli", "run"]
    spawn = f"import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn({run!r})))"
    process = subprocess.Popen(
        [sys.executable, "-c", spawn],
        cwd=root,
        env={**os.environ, "TERM": "xterm"},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    with process, process.stdin as keyboard:
        try:
            Attached(root).serving()
            yield process, keyboard
        finally:
            if process.poll() is None:
                process.kill()


def test_interrupt_key_reaches_the_supervisor_alone(project):
    with terminal_run(project) as (process, keyboard):
        running = Attached(project)
        with running.session() as session:
            replies = session.request(
                {"verb": "dispatch", "type": "Sleep", "data": {"seconds": 1}, "wait": ["SleptEvent"], "timeout": 30},
                patience=60,
            )
            next(replies)

            keyboard.write(b"\x03")
            keyboard.flush()

            assert list(replies)[-1]["exit"] == 0
        assert process.wait(PATIENCE) == 0
    assert not workers_of(project)


def test_interrupt_key_twice_ends_it_at_once(project):
    with terminal_run(project) as (process, keyboard):
        running = Attached(project)
        running.dispatch("Sleep", {"seconds": 30})

        keyboard.write(b"\x03")
        keyboard.flush()
        until(lambda: running.ask("status")[-1]["status"]["state"] == "stopping", "it does not stop")
        keyboard.write(b"\x03")
        keyboard.flush()

        assert process.wait(PATIENCE) == 130
    assert not workers_of(project)


def test_run_under_nohup_survives_the_end_of_its_terminal(project):
    nohup = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.executable, sys.argv[1:])"
    )
    command = [sys.executable, "-c", nohup, sys.executable, "-m", "microlith_cli", "run"]
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with process:
        try:
            Attached(project).serving()

            process.send_signal(HUP)

            assert Attached(project).words() == "one"
            process.send_signal(TERM)
            assert process.wait(PATIENCE) == 0
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize(("number", "code"), [(INT, 0), (TERM, 0)], ids=["INT", "TERM"])
def test_background_job_without_a_terminal_ends_too(project, number, code):
    """A shell starts background jobs with SIGINT ignored."""
    command = f"'{sys.executable}' -m microlith_cli run </dev/null >run.log 2>&1 & echo $!; wait $!; echo $?"
    shell = subprocess.Popen(
        ["sh", "-c", command], cwd=project, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with shell:
        assert shell.stdout is not None
        pid = int(shell.stdout.readline())
        try:
            Attached(project).serving()
            os.kill(pid, number)
            assert int(shell.stdout.readline()) == code
        finally:
            if lives(pid):
                os.kill(pid, signal.SIGKILL)
    assert not workers_of(project)
