"""`microlith dispatch` in a terminal: the tree of what it waits for grows while it waits."""

from pathlib import Path

import pytest

from tests.acceptance.terminal.conftest import Open

pytestmark = pytest.mark.terminal

STEPS = ["microlith", "dispatch", "StepsCommand", "--wait", "StepsDoneEvent", "--steps"]
SLOW = "microlith dispatch SlowCommand --seconds 30 --wait SlowDoneEvent --timeout 60s"


@pytest.mark.parametrize("mode", ["--attach", "--once"])
def test_tree_grows_in_its_place_and_stays_when_all_is_done(terminal: Open, shop: Path, resting: Path, mode: str):
    screen = terminal()
    screen.run([*STEPS, "3", "--seconds", "0.5", mode], folder=shop if mode == "--attach" else resting)

    early = screen.wait_for(r"… .* running ╍+")
    later = screen.wait_for(r"StepEvent → auth.step .* running +╍+")
    code, done = screen.code(), screen.text()

    assert (code, "StepEvent" in early, "StepsDoneEvent" in later) == (0, False, False)
    assert [done.count(text) for text in ("  waited", "► StepsCommand", "◇ StepEvent", "◇ StepsDoneEvent")] == [
        *(1, 1, 3, 1)
    ]
    assert "running ╍" not in done


def test_what_the_application_prints_stands_above_the_tree(terminal: Open, resting: Path):
    screen = terminal()
    screen.run([*STEPS, "2", "--seconds", "0.5", "--once"], folder=resting)

    assert screen.code() == 0
    done = screen.text()
    assert done.count("the handler prints\n") == 1
    assert done.index("the handler prints") < done.index("  waited")


def test_result_goes_to_stdout_alone(terminal: Open, shop: Path, tmp_path: Path):
    screen = terminal()
    screen.run(f"{' '.join(STEPS)} 1 --seconds 0.3 > {tmp_path}/out", folder=shop)

    assert screen.code() == 0
    assert "► StepsCommand" in screen.text()
    lines = (tmp_path / "out").read_text("utf-8").splitlines()
    assert [line.split()[0] for line in lines] == ["StepsDoneEvent"]


def test_what_ends_at_once_is_not_drawn(terminal: Open, shop: Path):
    screen = terminal()
    screen.run("microlith dispatch CurrentUserRequest --id 7", folder=shop)

    assert screen.code() == 0
    assert "waited" not in screen.text()


@pytest.mark.parametrize("how", ["microlith -q", "TERM=dumb microlith", "TERM= microlith"])
def test_nothing_is_drawn_where_it_is_not_wanted_or_cannot_be(terminal: Open, shop: Path, tmp_path: Path, how: str):
    screen = terminal()
    command = STEPS[1:]
    screen.run(f"script -qec '{how} {' '.join(command)} 2 --seconds 0.3' {tmp_path}/typescript", folder=shop)

    assert screen.code() == 0
    written = (tmp_path / "typescript").read_text("utf-8")
    assert "StepsDoneEvent" in written
    assert "waited" not in written
    assert "\x1b[J" not in written


def test_without_colours_the_tree_still_grows(terminal: Open, shop: Path):
    screen = terminal(NO_COLOR="1")
    screen.run([*STEPS, "2", "--seconds", "0.5"], folder=shop)

    screen.wait_for(r"running ╍+")
    assert screen.code() == 0
    assert "\x1b[" not in screen.text(colored=True)


def test_locale_that_is_not_utf8_gets_a_tree_of_ascii(terminal: Open, shop: Path):
    screen = terminal(LC_ALL="C")
    screen.run([*STEPS, "2", "--seconds", "0.5"], folder=shop)

    screen.wait_for(r"> StepsCommand -> auth.steps +~ .*running ~+")
    assert screen.code() == 0
    assert screen.text().isascii()


def test_higher_tree_than_the_terminal_keeps_its_head_and_its_end(terminal: Open, shop: Path):
    screen = terminal(rows=12)
    screen.run([*STEPS, "8", "--seconds", "0.2"], folder=shop)

    screen.wait_for(r"messages .*\n.*waited.*\n⋮ \d+ rows for which there is no room\n")
    assert screen.code() == 0
    everything = screen.text(history=True)
    assert everything.count("  waited") == 1
    assert "◇ StepsDoneEvent" in everything


@pytest.mark.parametrize("columns", [50, 120])
def test_terminal_of_another_size_gets_a_tree_of_that_size(terminal: Open, shop: Path, columns: int):
    screen = terminal()
    screen.run([*STEPS, "6", "--seconds", "0.5"], folder=shop)
    screen.wait_for(r"StepEvent .* running")

    screen.resize(columns, 24)

    assert screen.code() == 0
    done = (
        screen.text()
    )  # a terminal that breaks lines anew may have pushed some out at the top, where nothing can be drawn over
    assert [done.count(text) for text in ("  waited", "► StepsCommand", "◇ StepsDoneEvent")] == [1, 1, 1]


def test_interrupt_leaves_what_was_known_and_the_terminal_as_it_was(terminal: Open, shop: Path, tmp_path: Path):
    screen = terminal()
    screen.run(f"stty -a > {tmp_path}/before; {SLOW}; code=$?; stty -a > {tmp_path}/after; (exit $code)", folder=shop)
    screen.wait_for(r"running ╍+")

    screen.press("C-c")

    assert screen.code() == 130
    done = screen.text()
    assert done.count("► SlowCommand → auth.slow") == 1
    assert done.rstrip("# $\n").endswith("was accepted and goes on")
    assert "^C" not in done
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()
    assert screen.state("cursor_flag") == "1"


def test_stop_and_go_on_leaves_what_the_shell_has_written(terminal: Open, shop: Path):
    screen = terminal()
    screen.run([*STEPS, "9", "--seconds", "0.6"], folder=shop)
    screen.wait_for(r"running ╍+")

    screen.press("C-z")
    screen.wait_for("topped")
    screen.type("echo in between; fg")
    screen.press("Enter")

    screen.wait_for("◇ StepsDoneEvent")
    assert "in between\n" in screen.text(history=True)


def test_failure_shows_the_tree_once(terminal: Open, shop: Path):
    screen = terminal()
    screen.run("microlith dispatch SlowCommand --seconds 30 --wait SlowDoneEvent --timeout 600ms", folder=shop)

    assert screen.code() == 3
    done = screen.text()
    assert done.count("► SlowCommand") == 1
    assert done.index("► SlowCommand") < done.index("error SlowDoneEvent did not come")
