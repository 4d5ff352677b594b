"""`microlith shell` in a terminal of its own, attached to a running application."""

import os
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.acceptance.live_project import WORDS, Attached, Live, NotThereError, live, until
from tests.acceptance.terminals import Terminal, terminal

pytestmark = pytest.mark.terminal

PROMPT = "echo> "


@pytest.fixture
def running(project) -> Iterator[Live]:
    with live(project) as found:
        found.serving()
        yield found


@pytest.fixture
def shell(project, running) -> Iterator[Terminal]:
    with served_shell(project, running) as found:
        yield found


@contextmanager
def served_shell(project, running: Live) -> Iterator[Terminal]:
    running.serving()
    with terminal(project, "shell") as found:
        found.shows(PROMPT)
        yield found


def history(project):
    path = project / ".microlith" / "shell_history"
    return path.read_text("utf-8").splitlines() if path.exists() else []


def test_message_alone_is_dispatched_and_leaving_leaves_the_application_running(shell, running):
    shell.press("Say --number 4 --wait SaidEvent\r")
    said = shell.shows("number  4")
    shell.shows(PROMPT, after=said)

    shell.press("\x04")

    assert shell.ended() == 0
    assert running.serving()["state"] == "serving"


def test_tab_completes_verbs_messages_fields_and_recent_ids(shell, running, project):
    running.dispatch("Say", {"number": 4}, wait=["SaidEvent"])
    log = project / ".microlith" / "trace.jsonl"
    until(lambda: log.exists() and '"type":"Say"' in log.read_text("utf-8"), "the message is not in the trace log")
    shell.press("disp\t")
    shell.has_row("echo> dispatch")
    shell.press("Sl\t")
    shell.has_row("echo> dispatch Sle")
    shell.press("\t")
    shell.shows("SleptEvent  event of desk")
    shell.press("e\t--s\t")
    shell.has_row("echo> dispatch Sleep --seconds")
    shell.press("\x15Say\t--nu\t")
    shell.has_row("echo> Say --number")

    shell.press("\x15trace @f\t")
    shell.has_row("echo> trace @failed")
    shell.press("\x15trace \t")

    shell.shows("@last")
    until(lambda: any(row.endswith("  Say") for row in shell.rows()), "the type beside an id")


def test_what_is_watched_never_goes_through_the_line_that_is_typed(shell, running):
    shell.press("watch type:SaidEvent\r")
    watched = shell.shows("watch off ends it")
    shell.press("Say --number 77 --wait")
    shell.has_row("echo> Say --number 77 --wait")

    running.dispatch("Say", {"number": 5}, wait=["SaidEvent"])

    shell.shows("number=5", after=watched)
    shell.has_row("echo> Say --number 77 --wait")
    assert any("SaidEvent" in row and "number=5" in row and "--wait" not in row for row in shell.rows())

    shell.press("\x03watch off\r")
    told = shell.shows("nothing is shown any more")
    running.dispatch("Say", {"number": 6}, wait=["SaidEvent"])
    time.sleep(0.2)
    assert "number=6" not in shell.shown[told:]


def test_shell_stays_attached_over_a_reload_and_says_so(shell, running):
    running.save_words("two")

    shell.shows(f"reloaded  {WORDS}")
    shell.press("Say --number 1 --wait SaidEvent\r")
    shell.shows("words   two")


def test_shell_attaches_again_when_run_is_started_anew(project):
    with live(project) as first, served_shell(project, first) as shell:
        first.signal(signal.SIGTERM)
        first.wait()
        ended = shell.shows("The microlith has ended.")

        with live(project) as second:
            pid = second.serving()["pid"]
            again = shell.shows(f"Attached again: echo, process {pid}.", after=ended)
            shell.press("Say --number 3 --wait SaidEvent\r")
            shell.shows("number  3", after=again)


def test_command_waits_for_a_microlith_that_comes_back_and_starts_none(project):
    with live(project) as first, served_shell(project, first) as shell:
        first.signal(signal.SIGTERM)
        first.wait()
        shell.press("Say --number 3 --wait SaidEvent\r")
        shell.shows("waiting for one")

        with live(project):
            shell.shows("number  3")


def test_interrupt_cancels_the_command_that_runs_and_then_clears_the_line(shell):
    shell.press("Sleep --seconds 30 --wait SleptEvent --timeout 1m\r")
    shell.shows("accepted Sleep")
    shell.press("\x03")
    stopped = shell.shows("stopped waiting")
    shell.has_row("echo [130]>")

    shell.press("Sleep --sec")
    shell.has_row("echo [130]> Sleep --sec")
    shell.press("\x03")

    shell.shows("^C", after=stopped)
    shell.has_row("echo>")
    shell.press(".quit\r")
    assert shell.ended() == 0


def test_what_is_typed_while_a_command_runs_is_taken_when_it_has_ended(shell):
    shell.press("Sleep --seconds 1 --wait SleptEvent\r")
    shell.shows("accepted Sleep")
    assert shell.echoes()
    shell.press("Say --number 41 --wait SaidEvent\rSay --numb\x7f\x7f\x7f\x7f\x04")
    shell.shows("number  41")
    shell.has_row("echo> Say --")

    shell.press("\x15Sleep --seconds 1 --wait SleptEvent\r")
    shell.shows("accepted Sleep", after=shell.shows("number  41"))
    until(shell.echoes, "the command runs")
    shell.press("\x04")

    assert shell.ended() == 0


def test_what_is_typed_behind_an_answer_is_the_next_line(shell):
    shell.press("Say --wait SaidEvent\r")
    shell.shows("number (integer)")
    until(lambda: not shell.echoes(), "the answer is edited")
    shell.press("41\rSay --number 42 --wait SaidEvent\r\x04")

    shell.shows("number  42", after=shell.shows("number  41"))
    assert shell.ended() == 0


def test_key_that_sends_no_character_does_not_leave(shell):
    shell.press("\x00")
    shell.press("\x00Say --number 41 --wait SaidEvent\r")

    shell.shows("number  41")


def test_failed_line_is_told_and_the_next_one_is_asked_for(shell):
    shell.press("Say --numbr 3\r")

    shell.shows("Did you mean 'number'?")
    shell.has_row("echo [2]>")


def test_history_is_kept_for_this_user_alone_and_without_secrets(shell, project):
    shell.press("Say --number 4 --secret planted-secret\r")
    shell.shows("accepted")
    shell.press("""Say --data '{"number": 5, "secret": "planted-secret"}'\r""")
    shell.press("\x10")
    shell.has_row("echo> Say --number 4")
    shell.press("\x15.quit\r")
    assert shell.ended() == 0

    path = project / ".microlith" / "shell_history"
    assert history(project) == ["Say --number 4"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_earlier_lines_come_back_in_the_next_shell(shell, project):
    shell.press("Say --number 4\r")
    shell.shows("accepted")
    shell.press("\x04")
    assert shell.ended() == 0

    with terminal(project, "shell") as again:
        again.shows(PROMPT)
        again.press("\x12umb")
        again.has_row("search 'umb': Say --number 4")
        again.press("\r")
        again.shows("accepted")


def test_recorded_commands_are_a_script(shell, project):
    shell.press(".record try.txt\r")
    shell.shows("recording into try.txt")
    shell.press("Say --number 4 --secret planted-secret\r")
    shell.shows("accepted")
    shell.press("frob\r")
    shell.shows("There is no command 'frob'.")
    shell.press(".record off\r")
    shell.shows("nothing is recorded any more")
    shell.press("list\r.quit\r")
    assert shell.ended() == 0

    lines = (project / "try.txt").read_text("utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["Say --number 4"]
    assert "# exit code 2: frob" in lines
    assert "planted-secret" not in "".join(lines)


def test_terminal_is_left_as_it_was(shell):
    assert not shell.echoes()

    shell.press("Sleep --seconds 0.3 --wait SleptEvent\r")
    shell.shows("accepted Sleep")
    assert shell.echoes()

    shell.shows("seconds  0.3")
    shell.press("\x04")
    assert shell.ended() == 0
    assert shell.shown.endswith("\x1b[?2004l")
    assert shell.echoes()


def test_long_line_stays_in_one_row(project, running):
    del running
    with terminal(project, "shell", columns=40) as shell:
        shell.shows(PROMPT)
        shell.press("Say --number 7 --wait 'SaidEvent where number=7'")
        until(lambda: shell.rows()[-1].endswith("number=7'"), "the end of the line is not shown")

        assert all(len(row) < 40 for row in shell.rows() if row.startswith("echo"))
        shell.press("\x01")
        until(lambda: shell.rows()[-1].startswith("echo> Say --number 7"), "the beginning is not shown")
        shell.press("\r")
        shell.shows("number  7")


@pytest.mark.parametrize(
    "environ", [{"TERM": "dumb"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_shell_works_in_poor_terminals(project, running, environ):
    del running
    with terminal(project, "--color", "never", "shell", environ=environ) as shell:
        shell.shows(PROMPT)
        shell.press("watch type:SaidEvent\r")
        shell.shows("watch off ends it")
        shell.press("Say --number 4 --wait SaidEvent\r")
        shell.shows("number  4")
        shell.press("Grüß\r")
        shell.shows("error")

        def news_are_shown() -> bool:
            shell.press("\r")  # a poor prompt shows them when it stands anew
            time.sleep(0.1)
            return "number=4" in shell.shown

        until(news_are_shown, "what is watched is not shown")
        shell.press("\x04")

        assert shell.ended() == 0
        if environ.get("TERM") == "dumb":
            assert "\x1b" not in shell.shown


def test_stopped_and_continued_shell_draws_its_line_again(shell):
    shell.press("Say --num")
    shell.has_row("echo> Say --num")
    os.kill(shell.process.pid, signal.SIGSTOP)
    os.kill(shell.process.pid, signal.SIGCONT)
    shell.press("\t4\r")

    shell.shows("accepted")


def test_without_a_running_application_nothing_is_attached(project):
    with terminal(project, "shell") as shell:
        assert shell.ended() == 4
        assert "`microlith run` in another terminal" in " ".join("".join(shell.rows()).split())


def test_once_runs_the_application_while_the_prompt_waits(project):
    with terminal(project, "shell", "--once") as shell:
        shell.shows(PROMPT)
        shell.press("watch type:SleptEvent\r")
        shell.shows("watch off ends it")
        shell.press("Sleep --seconds 0.1\r")
        accepted = shell.shows("accepted")

        shell.shows("SleptEvent", after=accepted)
        shell.press("TotalsRequest\r")
        shell.shows("TotalsResponse")
        shell.press("\x04")
        assert shell.ended() == 0
        with pytest.raises(NotThereError):
            Attached(project).ask("status")
