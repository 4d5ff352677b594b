"""`microlith doctor`: what is well with a project, what is not, and what mends it.

Changes nothing: neither the store nor the project.
"""

import sys
from typing import Annotated

import typer

from microlith_cli.console import plain
from microlith_cli.console.progress import show_progress
from microlith_cli.control.client import attach
from microlith_cli.diagnosis.examining import examine
from microlith_cli.diagnosis.findings import Finding, standing
from microlith_cli.errors import DONE, SAID_NO, NothingRunsError
from microlith_cli.plurals import plural
from microlith_cli.project import find_project
from microlith_cli.session import only_reply

_STYLES = {"ok": "32", "note": "36", "warning": "33", "error": "1;31"}

_DOES = {
    "starting": "is starting, or stands by",
    "broken": "runs, and its code does not serve",
    "stopping": "is stopping",
}
"""What a process does that does not serve."""


def command(
    verify: Annotated[
        bool, typer.Option("--verify", help="Check every event: its checksums, and that the code can read it.")
    ] = False,
    alive: Annotated[
        bool, typer.Option("--alive", help="Only tell whether it runs and answers here: exit 0, or 4.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> int:
    """Look for what is wrong: installation, project, application, brokers, store, projections."""
    if alive:
        return _tell_alive(as_json=as_json)
    wrong = 0
    with show_progress(sys.stderr) as advance:
        for finding in examine(verify=verify, advance=advance):
            wrong += finding.level in {"warning", "error"}
            _show(finding, as_json=as_json)
    plain.say(f"{plural(wrong, 'thing')} to mend" if wrong else "nothing is wrong")
    return SAID_NO if wrong else DONE


def _tell_alive(*, as_json: bool) -> int:
    """Ask what runs for this project, whole or in components; meant for health checks, so it imports nothing of it."""
    project = find_project()
    answered = 0
    for folder in project.traces:  # where there is none of what runs, nothing runs
        session = attach(folder)
        if session is None:
            continue
        with session:
            status = only_reply(session, {"verb": "status"})["status"]
            names = status.get(
                "components", session.hello["components"]
            )  # while it starts, nobody knows of all of them
        answered += 1
        shared = {name: status[name] for name in ("process", "leads")} if status.get("shared") else {}
        if as_json:
            plain.out_json({"item": "process", "app": status["app"], "components": names, **shared})
        else:
            what = f"{status['app']} {_DOES.get(status['state'], 'runs')}{': ' if names else ''}{', '.join(names)}"
            plain.out(plain.escape(f"{what}{standing(status)}"))
    if not answered:
        raise NothingRunsError(f"No microlith of {project.name} is running.")
    return DONE


def _show(finding: Finding, *, as_json: bool) -> None:
    if as_json:
        row = {name: getattr(finding, name) for name in ("code", "level", "what", "where", "fix")}
        plain.out_json({"item": "finding", **row})
        return
    level = plain.styled(finding.level, _STYLES[finding.level], sys.stdout)
    where = f" [{finding.where}]" if finding.where else ""
    fix = f"; {finding.fix}" if finding.fix else ""
    plain.out(f"{finding.code} {level}: {plain.escape(' '.join(f'{finding.what}{where}{fix}'.split()))}")
