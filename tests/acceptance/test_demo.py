"""`microlith demo`, as it is typed: it tells the whole way of a user, and leaves nothing behind."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from microlith_cli import demo
from microlith_cli.console import plain
from microlith_cli.main import run
from tests.meta.tree import ROOT

pytestmark = pytest.mark.timeout(120)

CAME = ["UserRegisteredEvent", "LoginErrorRaised", "UserLoggedInEvent", "CurrentUserResponse", "UserLoggedOutEvent"]


@pytest.fixture(autouse=True)
def settings_of_this_process():
    yield
    plain.settings = plain.Settings()


def start(temporary: Path, *arguments: str) -> subprocess.Popen[str]:
    """The demo as a process of its own, with its temporary files in a folder of ours."""
    environment = {**os.environ, "TMPDIR": str(temporary), "NO_COLOR": "1", "MICROLITH_STORE_URL": "nowhere:"}
    return subprocess.Popen(
        [sys.executable, "-m", "microlith_cli", "demo", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def pid_in(text: str) -> int:
    """The process that serves the example, as the demo tells it."""
    (pid,) = re.findall(r"Process (\d+) serves", text)
    return int(pid)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_demo_tells_the_whole_way_of_a_user(tmp_path):
    running = start(tmp_path)

    out, err = running.communicate(timeout=60)

    assert (running.returncode, err) == (0, "")
    assert re.findall(r"^   (\w+) came; exit code (\d)", out, re.MULTILINE) == [
        (name, "1" if name == "LoginErrorRaised" else "0") for name in CAME
    ]
    assert len(re.findall(r"auth\.\w+ +4 events  (\w{12}) before and after", out)) == 3
    assert "correct horse" not in out
    assert out.index("Your turn") < out.index("$ microlith new app shop", out.index("Your turn"))
    assert not is_alive(pid_in(out))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_demo_in_json_is_one_object_a_line_and_can_be_kept(tmp_path):
    keep = tmp_path / "kept"
    running = start(tmp_path, "--json", "--keep", str(keep))

    out, err = running.communicate(timeout=60)

    lines = [json.loads(line) for line in out.splitlines()]
    assert (running.returncode, err) == (0, "")
    assert [line["matched"][0]["type"] for line in lines if line.get("item") == "outcome"] == CAME
    assert [line["exit"] for line in lines if line.get("item") == "outcome"] == [0, 1, 0, 0, 0]
    assert [line["changed"] for line in lines if line.get("item") == "rebuilt"] == [False] * 3
    assert any(line.get("type") == "microlith.handled" for line in lines)
    assert lines[-1]["kept"] == str(keep / "shop")
    assert (keep / "shop/pyproject.toml").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_demo_that_is_ended_takes_everything_with_it(tmp_path, number, code):
    running = start(tmp_path)
    assert running.stdout is not None
    serving = next(line for line in running.stdout if "serves it" in line)

    running.send_signal(number)
    running.communicate(timeout=30)

    assert running.returncode == code
    assert not is_alive(pid_in(serving))
    assert list(tmp_path.iterdir()) == []


def test_demo_says_what_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    assert run(["demo"]) == 1

    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[1].endswith("-m pip install argon2-cffi")


def test_demo_keeps_nothing_where_something_is(tmp_path, capsys):
    (tmp_path / "shop").mkdir()

    assert run(["demo", "--keep", str(tmp_path)]) == 2

    assert "is there already" in capsys.readouterr().err
    assert list((tmp_path / "shop").iterdir()) == []


def test_example_that_does_not_start_is_told_with_its_reason(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.microlith]\napp = "shop:app"\n', "utf-8")
    (tmp_path / "shop.py").write_text("raise ValueError('broken here')\n", "utf-8")

    with pytest.raises(demo.DemoFailedError, match="broken here"), demo.running(tmp_path):
        pass
