"""`microlith doctor`: what is well with a project, what is not, and what mends it.

Changes nothing: neither the store nor the project.
"""

import sys
from typing import Annotated

import typer

from microlith_cli.console import plain
from microlith_cli.console.ink import plural
from microlith_cli.console.progress import show_progress
from microlith_cli.diagnosis.examining import examine
from microlith_cli.diagnosis.findings import Finding
from microlith_cli.errors import DONE, SAID_NO

_STYLES = {"ok": "32", "note": "36", "warning": "33", "error": "1;31"}


def command(
    verify: Annotated[bool, typer.Option("--verify", help="Check every event against its checksums.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> int:
    """Look for what is wrong: installation, project, application, store, projections."""
    wrong = 0
    with show_progress(sys.stderr) as advance:
        for finding in examine(verify=verify, advance=lambda done, total: advance("checksums", done, total)):
            wrong += finding.level in {"warning", "error"}
            _show(finding, as_json=as_json)
    plain.say(f"{plural(wrong, 'thing')} to mend" if wrong else "nothing is wrong")
    return SAID_NO if wrong else DONE


def _show(finding: Finding, *, as_json: bool) -> None:
    if as_json:
        row = {name: getattr(finding, name) for name in ("code", "level", "what", "where", "fix")}
        plain.out_json({"item": "finding", **row})
        return
    level = plain.styled(finding.level, _STYLES[finding.level], sys.stdout)
    where = f" [{finding.where}]" if finding.where else ""
    fix = f"; {finding.fix}" if finding.fix else ""
    plain.out(f"{finding.code} {level}: {plain.escape(' '.join(f'{finding.what}{where}{fix}'.split()))}")
