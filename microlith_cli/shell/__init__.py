"""`microlith shell`: the tool's commands, one line after the other, with the application that runs.

It stands above the commands, for it runs them all; they know nothing of it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from microlith_cli.console import plain
from microlith_cli.console.ink import Ink
from microlith_cli.errors import DONE, INTERRUPTED, NothingRunsError, UnknownNameError, UsageError
from microlith_cli.options import split
from microlith_cli.project import Project, find_project
from microlith_cli.session import Session, chosen, connect
from microlith_cli.shell.completing import Completing
from microlith_cli.shell.history import History
from microlith_cli.shell.news import News
from microlith_cli.shell.partners import Elsewhere, Partner
from microlith_cli.shell.running import Lines

SWITCHES = ("--once", "--keep-going", "--json", "--help")
USAGE = """\
Usage: microlith shell [OPTIONS]
       microlith shell [OPTIONS] < SCRIPT

  Run command after command with the application that runs.

  A line is a command line without `microlith`; a message alone is dispatched:
  LoginCommand --email a@b.c --wait UserLoggedInEvent. Tab completes commands,
  messages, fields, values and recent ids. It stays attached over reloads, and
  the application runs on when you leave.

  From a file or a pipe it runs one command a line; a line that begins with #
  is a comment. It stops at the first that fails, with its exit code.

Lines of its own:
  watch FILTER  Show facts that pass, above the prompt; watch off ends it.
  .record FILE  Write the commands that are typed into a script; .record off.
  .help         Show all commands; .help COMMAND shows its options.
  .quit         Leave, as Ctrl-D does.

Options:
  --once        Run the application in this process, as long as the shell.
  --keep-going  In a script, go on after a line that fails.
  --json        Have every command print one JSON object a line.
  --help        Show this text.
"""


def run(arguments: list[str]) -> int:
    """Run command after command with the application that runs."""
    given = split(arguments, valued=(), switches=SWITCHES)
    if given.has("--help"):
        plain.out(USAGE.rstrip("\n"))
        return DONE
    for word in given.rest:
        if word.startswith("-"):
            raise UnknownNameError("option", word, SWITCHES, see="microlith shell --help")
        raise UsageError("The shell takes no arguments.", hint="A script goes to its stdin: microlith shell < SCRIPT")
    project = find_project()
    typed = sys.stdin.isatty()
    with (
        _partner(project, once=given.has("--once"), typed=typed) as (partner, news),
        chosen(partner.mode, partner.session),
    ):
        if typed:
            return _type(project, partner, news, as_json=given.has("--json"))
        # Only for scripts.
        from microlith_cli.shell.scripts import run_script  # noqa: PLC0415

        lines = Lines(partner, as_json=given.has("--json"))
        return run_script(lines, keep_going=given.has("--keep-going"))


def _type(project: Project, partner: Partner, news: News, *, as_json: bool) -> int:
    """Run what is typed, until the user leaves."""
    # Imports termios; only for a terminal.
    from microlith_cli.shell.prompting import open_prompt  # noqa: PLC0415

    history = History(project.state)
    if history.trouble:
        plain.say(f"no history is kept: {history.trouble}")
    lines = Lines(partner, as_json=as_json, keep=history.add)
    prompt = open_prompt(
        news, partner.wait, Completing(project.traces, partner.catalog, lambda: _quick(project, partner))
    )
    plain.say(f"{_whom(project, partner)}. Tab completes, .help shows all, .quit leaves.")
    code = DONE
    while not lines.over:
        try:
            line = prompt.read(f"{project.name}{f' [{code}]' if code else ''}> ", history.lines)
            while line.endswith("\\"):
                line = line[:-1] + prompt.read("... ", history.lines)
        except KeyboardInterrupt:
            code = DONE
            continue
        except EOFError:
            break
        code = lines.run(line)
        if code == INTERRUPTED:
            plain.err("")  # behind the ^C of the terminal
    return DONE


def _whom(project: Project, partner: Partner) -> str:
    goes_on = "which runs on when you leave" if partner.mode == "attach" else "which runs as long as this shell"
    return f"attached to {project.name}, {goes_on}"


def _quick(project: Project, partner: Partner) -> Session | None:
    """Give a session at once, or none: nobody waits for a completion."""
    return connect(project) if partner.mode == "attach" else partner.session()


@contextmanager
def _partner(project: Project, *, once: bool, typed: bool) -> Iterator[tuple[Partner, News]]:
    news = News(Ink.of(sys.stderr))
    try:
        partner = _find(project, news, once=once, typed=typed)
        try:
            yield partner, news
        finally:
            partner.close()
    finally:
        news.close()


def _find(project: Project, news: News, *, once: bool, typed: bool) -> Partner:
    if once:
        # Imports asyncio, pydantic and the user's code.
        from microlith_cli.shell.here import Here  # noqa: PLC0415

        return Here(project, news, news.say if typed else plain.say)
    session = connect(project)
    if session is None:
        raise NothingRunsError(
            f"No microlith of {project.name} is running, so there is nothing to attach to.",
            hint="Start it with `microlith run` in another terminal; --once runs it in this process, for this shell.",
        )
    return Elsewhere(project, session, news, plain.say, follows=typed)
