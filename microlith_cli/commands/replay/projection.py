"""`microlith replay projection`: read models, built anew from the log.

It builds read models anew beside the ones that serve and switches at once. What a projection
keeps outside the store is emptied by the projection's own reset and folded again. No other handler sees the events again, and nothing is written to the log.
"""

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from microlith_cli.console import blocks, plain
from microlith_cli.console.progress import show_progress
from microlith_cli.errors import DONE, SAID_NO, ConnectionLostError, RefusedError, UsageError
from microlith_cli.plurals import plural
from microlith_cli.project import find_project
from microlith_cli.session import open_session


def projection(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Projections, such as auth.accounts.", show_default=False),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Rebuild every projection.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> int:
    """Rebuild read models from the event log; the old rows serve until the new ones are complete."""
    if every == bool(names):
        raise UsageError("Name the projections, or say --all.", hint="`microlith list --projections` shows them.")
    plain.settings.as_json = as_json
    with (
        open_session(find_project(), say=plain.err) as session,
        show_progress(sys.stderr) as advance,
    ):
        for reply in session.request({"verb": "rebuild", "projections": None if every else names}):
            if "progress" in reply:
                at = reply["progress"]
                advance(str(at["projection"]), int(at["done"]), int(at["total"]))
            if reply.get("end"):
                if "error" in reply:
                    raise RefusedError(reply["error"], int(reply.get("exit", SAID_NO)))
                rebuilt = reply["rebuilt"]
                break
        else:
            raise ConnectionLostError
    _show(rebuilt)
    return DONE


def _show(rebuilt: list[Mapping[str, Any]]) -> None:
    if plain.settings.as_json:
        for row in rebuilt:
            plain.out_json({**row, "changed": row["before"] != row["after"] if row["before"] else None})
    else:
        for line in blocks.columns([_columns(row) for row in rebuilt]) or ["There are no projections."]:
            plain.out(plain.escape(line))


def _columns(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    changed = "rows as before" if row["before"] == row["after"] else "rows changed"
    changed = changed if row["before"] else "rows outside the store"
    return str(row["projection"]), plural(int(row["events"]), "event"), f"{row['ms']:.0f} ms", changed
