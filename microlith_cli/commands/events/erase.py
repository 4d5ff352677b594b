"""`microlith events erase`: the personal fields of somebody, for good.

Asks the running application; without one, runs it once.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from microlith_cli.console import plain
from microlith_cli.console.ink import one_line
from microlith_cli.errors import DONE, SAID_NO, ConnectionLostError, RefusedError, UsageError
from microlith_cli.plurals import plural
from microlith_cli.project import find_project
from microlith_cli.session import Session, open_session

_SILENCE = 3600.0  # seconds: a long log is walked, and read models are built anew, without a word


def erase(
    subjects: Annotated[
        list[str],
        typer.Argument(metavar="SUBJECT...", help="Whose, as the messages name them.", show_default=False),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what is stored.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> int:
    """Erase the personal fields of somebody, for good, by destroying the key they are encrypted with."""
    plain.settings.as_json = as_json
    asks = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty() and not as_json
    if not (dry_run or yes or asks):
        raise UsageError("An erasure is for good, and there is no terminal to ask on.", hint="Add --yes, or --dry-run.")
    with open_session(find_project(), say=plain.say) as session:
        if dry_run or not yes:
            found = _asked(session, subjects, dry_run=True)
            if dry_run:
                _show(found)
                return DONE
            plain.err(_counts(found))
            for name in found["outside"]:
                plain.err(f"{one_line(str(name))}  is emptied, and built anew")
            if not typer.confirm(f"Erase {plural(len(found['subjects']), 'subject')} for good?", err=True):
                return SAID_NO
        found = _asked(session, subjects, dry_run=False)
    _show(found)
    return SAID_NO if found["plain"] or found["elsewhere"] or found["stopped"] else DONE


def _asked(session: Session, subjects: Sequence[str], *, dry_run: bool) -> Mapping[str, Any]:
    request = {"verb": "erase", "subjects": list(subjects), "dry_run": dry_run}
    for reply in session.request(request, patience=_SILENCE):
        if "error" in reply:
            raise RefusedError(reply["error"], int(reply.get("exit", SAID_NO)))
        found: Mapping[str, Any] = reply["erasure"]
        return found
    raise ConnectionLostError


def _counts(found: Mapping[str, Any]) -> str:
    """Say in one line what is stored."""
    names = ", ".join(one_line(str(subject)) for subject in found["subjects"])
    kinds = {"events": "event", "commands": "command", "dead_letters": "dead letter", "schedules": "scheduled message"}
    return f"{names}: {', '.join(plural(int(found[key]), word) for key, word in kinds.items())}"


def _show(found: Mapping[str, Any]) -> None:
    """Tell what was found and done, and what is left to do."""
    if plain.settings.as_json:
        plain.out_json({"item": "erasure", **found})
        return
    plain.out(f"{_counts(found)}  {'erased' if found['done'] else 'would be erased'}")
    for name in found["projections"]:
        plain.out(f"{one_line(str(name))}  built anew")
    for name in () if found["done"] else found["outside"]:
        plain.out(f"{one_line(str(name))}  would be emptied, and built anew")
    if found["plain"]:
        plain.err(
            f"warning: {plural(int(found['plain']), 'message')} from before the fields were marked hold them in clear, "
            "and stay so; see docs/privacy.md"
        )
    for name in found["elsewhere"]:
        plain.err(
            f"warning: {one_line(str(name))} keeps its rows elsewhere, and "
            + ("was not emptied" if name in found["outside"] else "does not say how they are emptied: it has no reset")
        )
    for name, error in found["stopped"].items():
        plain.err(f"warning: {one_line(str(name))} stopped at what is erased: {one_line(str(error))}")
