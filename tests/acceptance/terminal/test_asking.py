"""`microlith dispatch` in a terminal asks for what is missing; nowhere else."""

import subprocess
import sys
from functools import partial
from operator import ne
from pathlib import Path

import pytest

from tests.acceptance.cli.shop import environment
from tests.acceptance.terminal.conftest import Open
from tests.tmux import Tmux

pytestmark = pytest.mark.terminal

ORDER = ("microlith", "dispatch", "OrderCommand", "--wait", "OrderedEvent")


def answer(screen: Tmux, question: str, *answers: str) -> None:
    for text in answers:
        before = screen.wait_for(rf"(?m)^{question}[^\n]*:\n\Z")
        screen.type(text)
        screen.press("Enter")
        screen.wait_until(partial(ne, before))  # not the same question, before the echo


@pytest.mark.parametrize("mode", ["--attach", "--once"])
def test_every_missing_field_is_asked_for_until_it_fits(terminal: Open, shop: Path, resting: Path, mode: str):
    screen = terminal(rows=50)
    screen.run([*ORDER, mode], folder=shop if mode == "--attach" else resting)

    answer(screen, "email", "", "a@b", "nobody", "ada@example.org")
    answer(screen, "unit", "ton", "kg")
    answer(screen, "count", "many", "0", "100", "7")
    answer(screen, "code", "abc", "geheim")
    answer(screen, "gift", "perhaps", "y")
    answer(screen, "tags", "", "red", "blue", "")

    assert screen.code() == 0
    shown = screen.text()
    assert "OrderCommand: Order something.\ndefaults: note=" in shown
    assert "  Who orders. At least 5 characters, at most 40 characters, matches @.\nemail (text):" in shown
    refusals = ("must ", "a value ")
    assert [line.strip() for line in shown.splitlines() if line.strip().startswith(refusals)] == [
        'a value is needed; "" is an empty text',
        "must have at least 5 characters",
        "must match @",
        "must be one of kg, g",
        "must be an integer",
        "must be at least 1",
        "must be at most 99",
        "must have at least 4 characters",
        "must be yes or no",
        "must have at least 1 items",
    ]
    assert "abc" not in shown
    for told in ("email  ada@example.org", "unit   kg", "count  7", "gift   true", 'tags   ["red", "blue"]'):
        assert told in shown


def test_only_what_is_missing_is_asked_for(terminal: Open, shop: Path):
    screen = terminal()
    screen.run(
        [*ORDER, "--email", "ada@example.org", "--unit", "g", "--count", "1", "--no-gift", "--tags", "x"], folder=shop
    )

    answer(screen, "code", "secret")

    assert screen.code() == 0
    assert "defaults" not in screen.text()


def test_what_the_application_alone_can_refuse_is_asked_for_again(terminal: Open, shop: Path):
    screen = terminal()
    screen.run(["microlith", "dispatch", "DueCommand", "--wait", "DueEvent"], folder=shop)

    answer(screen, "day", "2026-02-30", "2026-02-28")

    assert screen.code() == 0
    assert "day: " in screen.text()
    assert "2026-02-28" in screen.text()


@pytest.mark.parametrize("key", ["C-c", "C-d"])
def test_whoever_does_not_answer_sends_nothing(terminal: Open, shop: Path, tmp_path: Path, key: str):
    screen = terminal()
    screen.run(
        f"stty -a > {tmp_path}/before; {' '.join(ORDER)}; code=$?; stty -a > {tmp_path}/after; (exit $code)",
        folder=shop,
    )
    answer(screen, "email", "ada@example.org")
    screen.wait_for(r"unit \(kg\|g\):\n\Z")

    screen.press(key)

    assert screen.code() == 130
    assert "nothing was sent\n" in screen.text()
    assert "accepted" not in screen.text()
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()


def test_a_header_is_asked_for_and_not_shown_as_it_is_typed(terminal: Open, shop: Path):
    screen = terminal()
    screen.run([*ORDER[:2], "StepsCommand", "--steps", "1", "--header", "authorization=-"], folder=shop)

    answer(screen, "authorization", "planted")

    assert screen.code() == 0
    assert "planted" not in screen.text()


def test_with_json_nothing_is_asked(terminal: Open, shop: Path):
    screen = terminal(columns=200)
    screen.run([*ORDER, "--json"], folder=shop)

    assert screen.code() == 2
    assert "email: is required (--email); unit: is required" in screen.text()


def test_without_a_terminal_nothing_is_asked(shop: Path):
    command = [sys.executable, "-m", "microlith_cli", *ORDER[1:]]
    ended = subprocess.run(
        command, cwd=shop, env=environment(), input=b"ada@example.org\n", capture_output=True, timeout=30, check=False
    )

    assert ended.returncode == 2
    assert b"email: is required (--email)" in ended.stderr
