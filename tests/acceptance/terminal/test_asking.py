"""`microlith dispatch` in a terminal asks for what is missing; nowhere else.

Where the cursor can be moved, an answer is judged at each key; elsewhere line by line.
"""

import re
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

GIVEN = ("--email", "ada@example.org", "--unit", "g", "--count", "1", "--tags", "x")
ORDER = ("microlith", "dispatch", "OrderCommand", "--wait", "OrderedEvent")


def asked(screen: Tmux, question: str, said: str = "") -> str:
    """Wait for a question with nothing behind it, and what is said below it."""
    below = rf"  {said}[^\n]*\n" if said else r"(?:  [^\n]*\n)?"
    return screen.wait_for(rf"(?m)^{question}[^\n]*:\n{below}\Z")


def answer(screen: Tmux, question: str, text: str) -> None:
    """Answer a question with something that fits."""
    asked(screen, question)
    screen.type(text)
    screen.press("Enter")
    screen.wait_until(lambda shown: re.search(rf"(?m)^{question}[^\n]*:\n(  .*\n)?\Z", shown) is None)


def judged(screen: Tmux, question: str, *typed: tuple[str, str]) -> None:
    """Type texts, one in the place of the other, and wait for what is said below each."""
    for text, said in typed:
        screen.type(text)
        screen.wait_for(rf"(?m)^{re.escape(f'{question} {text}')}\n  {said}\n\Z")
        screen.press("C-u")


@pytest.mark.parametrize("mode", ["--attach", "--once"])
def test_every_answer_is_judged_at_each_key(terminal: Open, shop: Path, resting: Path, mode: str):
    screen = terminal(rows=40)
    screen.run([*ORDER, mode], folder=shop if mode == "--attach" else resting)

    asked(screen, "email", "such as ada@example.org")
    judged(screen, "email (text):", ("a@b", "must have at least 5 characters"), ("nobody", "must match @"))
    answer(screen, "email", "ada@example.org")
    asked(screen, "unit", "kg or g; Tab completes")
    judged(screen, "unit (kg|g):", ("t", "must be one of kg, g"), ("k", "kg; Tab completes"))
    screen.type("k")
    screen.press("Tab", "Enter")
    asked(screen, "count")
    wrong = (("x", "must be an integer"), ("0", "must be at least 1"), ("100", "must be at most 99"))
    judged(screen, "count (integer):", *wrong)
    answer(screen, "count", "7")
    answer(screen, "code", "geheim")
    asked(screen, "gift", "yes or no; Tab completes")
    judged(screen, "gift (yes or no):", ("perhaps", "must be yes or no"))
    answer(screen, "gift", "y")
    asked(screen, "tags")
    screen.type("red")
    screen.press("Enter")
    asked(screen, "tags", "empty ends the list")
    screen.press("Enter")

    assert screen.code() == 0
    shown = screen.text()
    assert "must " not in shown
    assert shown.startswith("OrderCommand: Order something.\ndefaults: note=")
    assert "  Who orders. At least 5 characters, at most 40 characters, matches @.\nemail (text): ada@" in shown
    for told in ("email  ada@example.org", "unit   kg", "count  7", "gift   true", 'tags   ["red"]'):
        assert told in shown


def test_answer_that_does_not_fit_is_not_taken_and_stays_to_be_corrected(terminal: Open, shop: Path):
    screen = terminal()
    screen.run([*ORDER, "--tags", "x"], folder=shop)
    asked(screen, "email")

    screen.press("Enter")
    screen.wait_for(r"email \(text\):\n  a value is needed; \"\" is an empty text\n\Z")
    screen.type("a@b")
    screen.press("Enter")
    screen.wait_for(r"email \(text\): a@b\n  must have at least 5 characters\n\Z")
    screen.type("cd")
    screen.wait_for(r"email \(text\): a@bcd\n\Z")
    screen.press("Enter")
    asked(screen, "unit")


def test_secret_is_judged_and_not_shown_as_it_is_typed(terminal: Open, shop: Path):
    screen = terminal()
    screen.run([*ORDER, *GIVEN, "--gift"], folder=shop)
    asked(screen, "code")

    screen.type("xyz")
    asked(screen, "code", "must have at least 4 characters")
    screen.type("zy")
    screen.wait_for(r"(?m)^code:\n\Z")
    screen.press("Enter")

    assert screen.code() == 0
    assert screen.text(history=True).count("xyz") == 1  # in the event, which shows it


def test_answers_that_are_typed_ahead_or_pasted_are_taken(terminal: Open, shop: Path):
    screen = terminal(rows=40)
    screen.run([*ORDER, "--tags", "x"], folder=shop)
    asked(screen, "email")

    screen.type("ada@example.org\rkg\r7\rgeheim\ry\r")

    assert screen.code() == 0
    assert "gift   true" in screen.text()


def test_row_of_what_is_said_fits_the_terminal_also_after_it_has_changed(terminal: Open, shop: Path):
    screen = terminal(columns=140)
    screen.run([*ORDER, "--tags", "x"], folder=shop)
    asked(screen, "email")
    screen.type("x" * 50)
    screen.wait_for("  must have at most 40 characters")

    screen.resize(30, 24)
    shown = screen.wait_for(r"(?m)^email \(text\): x+\n  must have at most 40 .*\n\Z")

    assert max(map(len, shown.splitlines()[-2:])) <= 30
    screen.resize(80, 24)
    screen.press("C-u")
    screen.wait_for(r"email \(text\):\n  such as ada@example.org\n\Z")
    assert int(screen.state("cursor_x")) == len("email (text): ")


def test_what_is_pasted_with_control_characters_draws_nothing_else(terminal: Open, shop: Path):
    screen = terminal()
    screen.run([*ORDER, "--tags", "x"], folder=shop)
    asked(screen, "email")

    screen.type("a\x1b[31m\x07b\u202ec@x")

    screen.wait_for(r"email \(text\): a[^\n]*b[^\n]*c@x\n")
    assert "\u202e" not in screen.text()


def test_question_goes_on_after_it_was_in_the_background(terminal: Open, shop: Path, require):
    require("bash")
    screen = terminal()
    screen.run("exec bash --norc --noprofile -m", folder=shop)
    screen.type(f"PS1='>> '; clear; {' '.join(ORDER)}")
    screen.press("Enter")
    asked(screen, "email")
    screen.type("ada@")
    screen.wait_for(r"email \(text\): ada@\n")

    screen.press("C-z")
    screen.wait_for(r"(?m)^>> *\n\Z")
    screen.type("fg")
    screen.press("Enter")
    screen.wait_for(r">> fg\n[^\n]*\nemail \(text\): ada@\n")
    screen.type("example.org")
    screen.press("Enter")
    asked(screen, "unit")
    screen.press("C-c")
    screen.wait_for("nothing was sent")


def test_without_a_cursor_every_missing_field_is_asked_for_line_by_line(terminal: Open, shop: Path):
    screen = terminal(rows=50)
    screen.run(f"TERM=dumb {' '.join(ORDER)}", folder=shop)

    answer_lines(screen, "email", "", "a@b", "nobody", "ada@example.org")
    answer_lines(screen, "unit", "ton", "k", "kg")
    answer_lines(screen, "count", "many", "0", "100", "7")
    answer_lines(screen, "code", "abc", "geheim")
    answer_lines(screen, "gift", "perhaps", "y")
    answer_lines(screen, "tags", "", "red", "blue", "")

    assert screen.code() == 0
    shown = screen.text()
    refusals = ("must ", "a value ")
    assert [line.strip() for line in shown.splitlines() if line.strip().startswith(refusals)] == [
        'a value is needed; "" is an empty text',
        "must have at least 5 characters",
        "must match @",
        "must be one of kg, g",
        "must be one of kg, g; did you mean kg?",
        "must be an integer",
        "must be at least 1",
        "must be at most 99",
        "must have at least 4 characters",
        "must be yes or no",
        "must have at least 1 item",
    ]
    assert "abc" not in shown
    for told in ("email  ada@example.org", "unit   kg", "count  7", "gift   true", 'tags   ["red", "blue"]'):
        assert told in shown


def answer_lines(screen: Tmux, question: str, *answers: str) -> None:
    for text in answers:
        before = screen.wait_for(rf"(?m)^{question}[^\n]*:\n\Z")
        screen.type(text)
        screen.press("Enter")
        screen.wait_until(partial(ne, before))  # not the same question, before the echo


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

    asked(screen, "day", "such as 2026-01-31")
    screen.type("2026-02-30")
    screen.wait_for(r"day \(date\): 2026-02-30\n  is no date such as 2026-01-31\n\Z")
    screen.press("Enter")
    screen.wait_for(r"\n  day: Input should be a valid date [^\n]* expected\n  range\nday \(date\):\n")
    answer(screen, "day", "2026-02-28")

    assert screen.code() == 0
    assert "2026-02-28" in screen.text()


@pytest.mark.parametrize("key", ["C-c", "C-d"])
def test_whoever_does_not_answer_sends_nothing(terminal: Open, shop: Path, tmp_path: Path, key: str):
    screen = terminal()
    screen.run(
        f"stty -a > {tmp_path}/before; {' '.join(ORDER)}; code=$?; stty -a > {tmp_path}/after; (exit $code)",
        folder=shop,
    )
    answer(screen, "email", "ada@example.org")
    asked(screen, "unit")

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
