"""`microlith run` and `microlith trace --follow` in terminals of every kind, and with an end that nobody reads."""

import select
import signal
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.cli.shop import Tool
from tests.acceptance.terminal.conftest import Open
from tests.tmux import Tmux

pytestmark = pytest.mark.terminal

RUN, FOLLOW = "microlith run", "microlith trace --follow"


def started(screen: Tmux, command: str, folder: Path) -> None:
    """Start a command that lasts, and wait until it shows what is sent."""
    screen.run(command, folder=folder)
    if command.endswith(RUN):
        screen.wait_for("listens at")
    tool = Tool(folder)
    screen.wait_until(
        lambda shown: tool("-q", "dispatch", "EchoCommand", "--wait", "EchoedEvent").code != 0 or "EchoedEvent" in shown
    )


def echo(folder: Path, text: str) -> None:
    assert Tool(folder)("dispatch", "EchoCommand", "--text", text, "--wait", "EchoedEvent", "--attach").code == 0


@pytest.fixture(params=[RUN, FOLLOW])
def lasting(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """A command that lasts, and the folder of a project for it."""
    return request.param, request.getfixturevalue("resting" if request.param == RUN else "shop")


def test_narrower_terminal_gets_shorter_lines(terminal: Open, lasting: tuple[str, Path]):
    command, folder = lasting
    screen = terminal(columns=120, rows=50)
    started(screen, command, folder)

    screen.resize(60, 50)
    echo(folder, "x" * 200)

    shown = screen.wait_for("EchoCommand  text=x+…\n")
    assert all(len(line) <= 60 for line in shown.splitlines())
    screen.press("C-c")
    screen.code()


def test_interrupt_leaves_the_terminal_as_it_was(terminal: Open, lasting: tuple[str, Path], tmp_path: Path):
    command, folder = lasting
    screen = terminal()
    started(screen, f"stty -a > {tmp_path}/before; {command}", folder)

    screen.press("C-c")

    assert screen.code() in {0, 130}
    screen.run(f"stty -a > {tmp_path}/after", folder=folder)
    assert screen.code() == 0
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()
    assert screen.state("cursor_flag") == "1"


@pytest.mark.parametrize("variables", ["NO_COLOR=1", "TERM=dumb"])
def test_no_colours_where_they_are_not_wanted_or_cannot_be(
    terminal: Open, lasting: tuple[str, Path], tmp_path: Path, variables: str
):
    command, folder = lasting
    screen = terminal(rows=50)
    started(screen, f"{variables} {command}", folder)

    echo(folder, "plain")

    screen.wait_for("EchoCommand  text=plain")
    assert "\x1b[" not in screen.text(colored=True)
    screen.press("C-c")
    screen.code()


def test_locale_that_is_not_utf8_gets_ascii(terminal: Open, lasting: tuple[str, Path]):
    command, folder = lasting
    screen = terminal(rows=50, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    started(screen, command, folder)

    echo(folder, "größer")

    assert screen.wait_for(r"> EchoCommand  text=.*gr").isascii()
    screen.press("C-c")
    screen.code()


def test_follow_whose_reader_has_gone_ends_quietly(shop: Path):
    process = Tool(shop).start("trace", "--follow", stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        for _ in range(50):
            echo(shop, "read")
            if select.select([process.stdout], [], [], 0.2)[0]:  # the first may have come before anybody followed
                break
        process.stdout.close()
        for _ in range(50):
            if process.poll() is not None:
                break
            echo(shop, "unread")
        assert process.wait(40) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_run_whose_reader_has_gone_ends_in_good_order(resting: Path):
    process = Tool(resting).start("run", stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        process.stdout.close()
        tool = Tool(resting)
        for _ in range(60):
            if (
                tool("dispatch", "EchoCommand", "--wait", "EchoedEvent", "--attach").code == 0
                or process.poll() is not None
            ):
                break
        for _ in range(3):
            tool("dispatch", "EchoCommand", "--wait", "EchoedEvent", "--attach")
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
