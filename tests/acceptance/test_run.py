"""`microlith run`: starts, serves, shows what happens, and has the project to itself."""

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.acceptance.live_project import live, lives, make_project, until, workers_of

pytestmark = pytest.mark.timeout(120)


def run_once(root: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the tool to its end."""
    return subprocess.run(
        [sys.executable, "-m", "microlith_cli", *arguments],
        cwd=root,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_run_serves_and_says_so(project):
    with live(project) as running:
        running.serving()

        lines = running.dispatch("Say", {"number": 1}, wait=["SaidEvent"])

        assert lines[-1]["exit"] == 0
        running.printed(r"components +desk")
        running.printed(r"handlers +3 commands, 1 query")
        running.printed(r"store +durable; SQLite \d")
        running.printed(r"SaidEvent")


def test_run_serves_the_command_line(project):
    with live(project) as running:
        running.serving()

        done = run_once(project, "dispatch", "Say", "--number", "5", "--wait", "SaidEvent", "--attach", "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["data"] == {"number": 5, "words": "one"}


def test_what_handlers_print_is_passed_on_line_by_line(project):
    with live(project) as running:
        running.serving()

        for number in range(1, 101):
            running.dispatch("Say", {"number": -number}, wait=["SaidEvent"])
        running.signal(signal.SIGINT)
        running.wait()

    assert [line for line in running.stdout if "to stdout" in line] == [f"to stdout -{n}" for n in range(1, 101)]
    assert [line for line in running.stderr if "to stderr" in line] == [f"to stderr -{n}" for n in range(1, 101)]


def test_json_run_prints_nothing_but_objects_on_stdout(project):
    with live(project, "--json") as running:
        running.serving()
        running.dispatch("Say", {"number": -1}, wait=["SaidEvent"])
        running.printed('"type":"SaidEvent"')
        running.signal(signal.SIGINT)

        assert running.wait() == 0

    facts = [json.loads(line) for line in running.stdout]
    assert {"Say", "SaidEvent", "microlith.handled"} <= {fact.get("type") for fact in facts}
    assert any("to stdout -1" in line for line in running.stderr)
    assert "hunter22" not in running.everything()


def test_quiet_run_prints_what_the_application_prints_only(project):
    with live(project, "--quiet") as running:
        running.serving()
        running.dispatch("Say", {"number": -1}, wait=["SaidEvent"])
        running.printed("to stderr -1")
        running.signal(signal.SIGINT)
        running.wait()

    assert (running.stdout, running.stderr) == (["to stdout -1"], ["to stderr -1"])


def test_status_says_who_serves(project):
    with live(project) as running:
        status = running.serving()

        assert status["pid"] == running.process.pid
        assert workers_of(project) >= {status["worker_pid"]}
        assert (status["app"], status["generation"], status["error"]) == ("echo", 1, None)


def test_catalog_for_completion_is_written(project):
    with live(project) as running:
        running.serving()
        running.dispatch("TotalsRequest")

    catalog = json.loads((project / ".microlith" / "catalog.json").read_bytes())
    assert "Say" in {message["type"] for message in catalog["messages"]}


def test_second_run_is_refused_and_touches_nothing(project):
    with live(project) as running:
        running.serving()
        state = project / ".microlith"
        until((state / "catalog.json").exists, "the first run did not write its catalog")
        before = {path.name: path.stat().st_mtime_ns for path in state.iterdir() if path.suffix != ".jsonl"}

        second = run_once(project, "run")

        after = {path.name: path.stat().st_mtime_ns for path in state.iterdir() if path.suffix != ".jsonl"}
        assert second.returncode == 1
        assert str(running.process.pid) in second.stderr
        assert "control.sock" in second.stderr
        assert "since" in second.stderr
        assert (before, second.stdout) == (after, "")
        assert running.words() == "one"


def test_of_many_runs_at_once_one_serves(project):
    with ExitStack() as stack:
        runs = [stack.enter_context(live(project)) for _ in range(5)]

        until(lambda: sum(run.process.poll() is not None for run in runs) == 4, "not all but one were refused")
        (winner,) = [run for run in runs if run.process.poll() is None]

        assert winner.serving()["pid"] == winner.process.pid
        assert {run.process.returncode for run in runs} == {None, 1}


def test_run_waits_for_a_store_that_is_in_use_for_a_moment(project):
    once = [sys.executable, "-m", "microlith_cli", "dispatch", "Sleep", "--seconds", "1.5", "--wait", "SleptEvent"]
    dispatched = subprocess.Popen([*once, "--once"], cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with dispatched:
        until((project / ".microlith" / "events.db.lock").exists, "nobody owns the store")

        with live(project) as running:
            assert running.serving()["error"] is None
        assert dispatched.wait(60) == 0


def test_project_is_free_again_after_its_run_was_killed(project):
    with live(project) as running:
        running.serving()
        running.process.kill()
        running.wait()

    with live(project) as running:
        assert running.serving()["generation"] == 1


def test_run_outside_a_project_is_refused(tmp_path):
    done = run_once(tmp_path, "run")

    assert done.returncode == 2
    assert "pyproject.toml" in done.stderr


@pytest.mark.parametrize("name", ["with some spaces", "größe-日本語-ñ", "long-" + "x" * 120])
def test_project_may_lie_anywhere(tmp_path, name):
    project = make_project(tmp_path / name)

    with live(project) as running:
        running.serving()

        assert running.words() == "one"


def test_home_may_be_read_only(project, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o500)

    with live(project, environ={"HOME": str(home), "XDG_CACHE_HOME": str(home)}) as running:
        running.serving()

        assert running.words() == "one"
    assert list(home.iterdir()) == []


def test_code_that_does_not_import_ends_a_run_without_reload(project):
    (project / "echo" / "desk" / "words.py").write_text("WORDS = (\n")

    with live(project, "--no-reload") as running:
        assert running.wait() == 1

    assert "words.py:1" in running.everything()
    assert "importlib" not in running.everything()
    assert not workers_of(project)


def test_no_process_outlives_a_killed_supervisor(project):
    with live(project) as running:
        running.serving()
        workers = workers_of(project)

        running.process.kill()
        running.wait()

        assert workers
        until(lambda: not any(map(lives, workers)), "the workers were not gone", 2.0)
