"""`microlith shell` at a terminal, in a project with secrets, failures and schedules."""

import time
from collections.abc import Iterator

import pytest

from tests.acceptance.cli.light import heavy_imports
from tests.acceptance.live_project import until
from tests.acceptance.terminals import Terminal, terminal

pytestmark = pytest.mark.terminal


@pytest.fixture
def shell(attached) -> Iterator[Terminal]:
    with terminal(attached.folder, "shell") as found:
        found.shows("shop> ")
        yield found


def test_secret_is_asked_for_and_not_shown(shell, attached):
    shell.press("LoginCommand --email a@b.c --sid s1 --wait UserLoggedInEvent\r")
    shell.shows("password: ")
    assert not shell.echoes()
    shell.press("right\r")
    shell.shows("user_id  7")
    shell.press("\x04")

    assert shell.ended() == 0
    assert "right" not in shell.shown
    assert "right" not in (attached.folder / ".microlith" / "shell_history").read_text("utf-8")


def test_question_that_is_interrupted_sends_nothing(shell):
    shell.press("LoginCommand --email a@b.c --sid s1 --wait UserLoggedInEvent\r")
    shell.shows("password: ")
    shell.press("\x03")

    shell.has_row("shop [130]>")
    assert "accepted" not in shell.shown


@pytest.mark.parametrize(
    ("sent", "typed", "listed"),
    [
        (["FailCommand", "--quiet-for", "50ms"], "dead-letters show ", "FailCommand"),
        (["GreetedEvent", "--user-id", "7"], "events show ", "GreetedEvent"),
        (["EchoCommand", "--after", "1h"], "schedules cancel ", "EchoCommand"),
        (["EchoCommand"], "trace ", "EchoCommand"),
        (["EchoCommand"], "dispatch --from ", "EchoCommand"),
    ],
)
def test_ids_of_what_happened_lately_are_offered(shell, attached, sent, typed, listed):
    for _ in range(2):  # one alone is not listed, but taken
        attached("dispatch", *sent)
    shell.press(typed)

    def is_listed() -> bool:
        shell.press("\t")
        time.sleep(0.05)
        return f"  {listed}" in shell.shown

    until(is_listed, f"{listed} is not listed")  # the trace log is written some moments later
    last = shell.rows()[-1]  # ids that begin alike are completed as far as they do
    assert last.startswith(f"shop> {typed}".rstrip())
    assert len(last) < len(f"shop> {typed}") + 8


def test_value_with_a_space_is_quoted(shell):
    shell.press("EchoCommand --unit k\t")
    shell.has_row("shop> EchoCommand --unit kg")
    shell.press("\x15EchoCommand --text 'a b")
    shell.has_row("shop> EchoCommand --text 'a b")
    shell.press("' --wait EchoedEvent\r")

    shell.shows("a b")


def test_flood_of_facts_leaves_the_line_alone(shell, attached):
    shell.press("watch type:EchoedEvent\r")
    watched = shell.shows("watch off ends it")
    shell.press("LoginCommand --email")
    shell.has_row("shop> LoginCommand --email")

    attached("dispatch", "EchoCommand", "--batch", "-", stdin='{"text": "flood"}\n' * 400)
    shell.shows("text=flood", after=watched)
    time.sleep(0.2)
    shell.press(" x")

    shell.has_row("shop> LoginCommand --email x")
    assert not any("flood" in row and "--email" in row for row in shell.rows())


def test_attached_shell_imports_nothing_heavy(attached):
    assert heavy_imports(attached, "shell") == set()
