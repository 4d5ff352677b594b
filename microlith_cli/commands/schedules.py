"""`microlith schedules`: the messages that are to be sent later; look at them, or cancel one.

Asks the running application; without one, opens its store and sends nothing that is due.
"""

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from time import time
from typing import Annotated, Any

import typer

from microlith.ids import matches, short_id
from microlith_cli.console import blocks, plain
from microlith_cli.console.ink import one_line
from microlith_cli.console.listing import ahead
from microlith_cli.errors import DONE, SAID_NO, AmbiguousIdError, ToolError, UsageError
from microlith_cli.project import find_project
from microlith_cli.session import Session, all_rows, only_reply, open_session, processes_of, whose

command = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

Row = Mapping[str, Any]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Typed = Annotated[
    str, typer.Argument(metavar="ID", help="Beginning of an id or short id, or a name.", show_default=False)
]

_HEAD = ("id", "due", "message", "name", "correlation")


class NoScheduleError(ToolError):
    """What was typed means no schedule."""

    def __init__(self, typed: str, schedules: Sequence[Row]) -> None:
        super().__init__(
            f"No scheduled message is {typed!r}; there {'is' if len(schedules) == 1 else 'are'} {len(schedules)}."
            if schedules
            else f"No scheduled message is {typed!r}; nothing is scheduled.",
            hint="`microlith schedules` lists them." if schedules else "",
        )


@command.callback(invoke_without_command=True)
def schedules(context: typer.Context, as_json: Json = False) -> int:
    """List the messages that are to be sent later, the next one first; or cancel one."""
    plain.settings.as_json |= as_json
    return DONE if context.invoked_subcommand is not None else _list()


@command.command("list", short_help="List them, the next one first.")
def list_them(as_json: Json = False) -> int:
    """List the messages that are to be sent later, the next one first."""
    plain.settings.as_json |= as_json
    return _list()


@command.command(short_help="Show one: payload, when it is due, who asked for it.")
def show(typed: Typed, as_json: Json = False) -> int:
    """Show one scheduled message with its payload. Secrets are masked."""
    plain.settings.as_json |= as_json
    with _session() as session:
        chosen = _chosen(_all(session), typed)
        asked = {"verb": "schedules", "message_id": chosen["id"], "data": True, **whose(chosen)}
        row = {**next(iter(only_reply(session, asked)["schedules"]), chosen), **whose(chosen)}
    if plain.settings.as_json:
        plain.out_json(_told(row))
    else:
        plain.out(_block(row))
    return DONE


@command.command(short_help="Have one not sent after all.")
def cancel(
    typed: Typed,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> int:
    """Have a scheduled message not sent after all."""
    plain.settings.as_json |= as_json
    asks = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty() and not plain.settings.as_json
    if not yes and not asks:
        raise UsageError("Cancelling is for good, and there is no terminal to ask on.", hint="Add --yes.")
    with _session() as session:
        row = _chosen(_all(session), typed)
        if not yes:
            plain.err("  ".join(_cells(row)))
            if not typer.confirm("Cancel it for good?", err=True):
                return SAID_NO
        only_reply(session, {"verb": "cancel_schedule", "message_id": row["id"], **whose(row)})
    if plain.settings.as_json:
        plain.out_json({**_told(row), "outcome": "cancelled"})
    else:
        plain.out("  ".join(map(one_line, (short_id(str(row["id"])), str(row["message"]), "cancelled"))))
    return DONE


def _session() -> Session:
    return open_session(find_project(), say=plain.say, sends_scheduled=False)


def _list() -> int:
    with _session() as session:
        rows = _all(session)
    if plain.settings.as_json:
        for row in rows:
            plain.out_json(_told(row))
    elif rows:
        for line in blocks.columns([_HEAD, *map(_cells, rows)]):
            plain.out(line)
    else:
        plain.err("Nothing is scheduled.")
    return DONE if rows else SAID_NO


def _all(session: Session) -> list[Row]:
    """Read all schedules, page by page, the next one first."""
    every = all_rows(session, "schedules", after=None, cursor="turn")
    return sorted(every, key=lambda row: str(row["due"])) if processes_of(session) else every


def _chosen(rows: Sequence[Row], typed: str) -> Row:
    """Choose what was typed: an id, or else a name."""
    found = [row for row in rows if typed and matches(str(row["id"]), typed)]
    found = found or [row for row in rows if typed and row.get("name") == typed]
    if not found:
        raise NoScheduleError(typed, rows)
    if len(found) > 1:
        raise AmbiguousIdError(typed, [f"{short_id(str(row['id']))} ({row['message']})" for row in found])
    return found[0]


def _told(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "turn"}


def _cells(row: Row) -> tuple[str, ...]:
    due = ahead(datetime.fromisoformat(str(row["due"])).timestamp(), time())
    said = f"{due}: {row['error']}" if "error" in row else due
    told = (short_id(str(row["id"])), said, row["message"], row.get("name", "-"), short_id(str(row["correlationid"])))
    return tuple(map(one_line, map(str, told)))


def _block(row: Row) -> str:
    told = {"message id": row["id"], "correlation id": row["correlationid"]}
    told |= {"caused by": row["causationid"]} if "causationid" in row else {}
    told |= {name: row[name] for name in ("due", "name", "process", "error", "unreadable") if name in row}
    told["asked for"] = row["time"]
    payload = blocks.message_block({"type": row["message"], "id": row["id"], "data": row.get("data", {})})
    return "\n".join([payload, "", *blocks.pairs(told)])
