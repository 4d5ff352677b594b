"""`microlith dead-letters`: the messages that were given up; try them again, or drop them.

Asks the running application; without one, runs it once.
"""

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from time import time
from types import MappingProxyType
from typing import Annotated, Any

import typer

from microlith.ids import matches, short_id
from microlith.tracing.log import read_facts
from microlith_cli.causation import build_tree
from microlith_cli.console import blocks, plain
from microlith_cli.console.ink import Ink, one_line
from microlith_cli.console.listing import ago
from microlith_cli.console.tree import MOST_MESSAGES, show_tree
from microlith_cli.errors import DONE, SAID_NO, TIMED_OUT, AmbiguousIdError, RefusedError, ToolError, UsageError
from microlith_cli.options import seconds
from microlith_cli.plurals import plural
from microlith_cli.project import find_project
from microlith_cli.session import Session, all_rows, only_reply, open_session, processes_of, whose

command = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

Row = Mapping[str, Any]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Every = Annotated[bool, typer.Option("--all", help="Take every dead letter.")]
Typed = Annotated[
    str | None, typer.Argument(metavar="[ID]", help="Beginning of an id or short id, or @last.", show_default=False)
]

_HEAD = ("id", "when", "handler", "message", "attempts", "error")
_SLACK = 10.0
"""Seconds beyond a retry's timeout in which the answer that it has not ended must come."""


class NoDeadLetterError(ToolError):
    """What was typed means no dead letter."""

    def __init__(self, typed: str, letters: Sequence[Row]) -> None:
        super().__init__(
            f"{typed!r} is no dead letter; there {'is 1' if len(letters) == 1 else f'are {len(letters)}'}."
            if letters
            else f"{typed!r} is no dead letter; there are none.",
            hint="`microlith dead-letters` lists them; there are also @last, @-2 and so on." if letters else "",
        )


@command.callback(invoke_without_command=True)
def dead_letters(context: typer.Context, as_json: Json = False) -> int:
    """List the messages that were given up, the newest last; try them again, or drop them."""
    plain.settings.as_json |= as_json
    return DONE if context.invoked_subcommand is not None else _list()


@command.command("list", short_help="List them, the newest last.")
def list_them(as_json: Json = False) -> int:
    """List the messages that were given up, the newest last."""
    plain.settings.as_json |= as_json
    return _list()


def _list() -> int:
    with _session() as session:
        letters = _letters(session)
    if plain.settings.as_json:
        for row in letters:
            plain.out_json(row)
    elif letters:
        heads = {_place(row): row for row in letters}
        ink, cut = Ink.of(sys.stdout), sys.stdout.isatty()  # `show` has the whole error
        for line in blocks.columns([_HEAD, *(_cells(row, heads) for row in letters)]):
            plain.out(ink.cut(line, ink.width) if cut else line)
    else:
        plain.err("No dead letters.")
    return DONE if letters else SAID_NO


@command.command(short_help="Show one: payload, error and what led to it.")
def show(
    typed: Annotated[
        str, typer.Argument(metavar="ID", help="Beginning of an id or short id, or @last.", show_default=False)
    ],
    as_json: Json = False,
) -> int:
    """Show one dead letter: its payload, the error, and the tree it failed in. Secrets are masked."""
    plain.settings.as_json |= as_json
    project = find_project()
    with _session() as session:
        chosen = [_whole(session, row) for row in _chosen(_letters(session), typed)]
    for row in chosen:
        if plain.settings.as_json:
            plain.out_json(row)
        else:
            plain.out(_block(row))
    if not plain.settings.as_json:
        correlation = str(chosen[0]["correlationid"])
        facts = list(read_facts(project.traces, correlation=correlation))
        if facts:
            plain.out("")
            show_tree(build_tree(correlation, facts), sys.stdout, limit=MOST_MESSAGES)
    return DONE


@command.command(short_help="Have the handler try one again, or all.")
def retry(
    typed: Typed = None,
    every: Every = False,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="How long to wait for each, such as 5s.")
    ] = "30s",
    as_json: Json = False,
) -> int:
    """Have the handler that gave a message up try it again; one after the other, oldest first."""
    plain.settings.as_json |= as_json
    limit = seconds(timeout, "--timeout")
    _check(typed, every=every, verb="retry")
    with _session() as session:
        codes = [_retry(session, row, limit, every=every) for row in _chosen(_letters(session), typed)]
    if not codes:
        plain.err("No dead letters.")
    return SAID_NO if SAID_NO in codes else max(codes, default=DONE)


@command.command(short_help="Remove one for good, or all.")
def drop(
    typed: Typed = None,
    every: Every = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> int:
    """Remove a dead letter for good. What its message has caused before stays."""
    plain.settings.as_json |= as_json
    _check(typed, every=every, verb="drop")
    asks = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty() and not plain.settings.as_json
    if not yes and not asks:
        raise UsageError("Dropping is for good, and there is no terminal to ask on.", hint="Add --yes.")
    with _session() as session:
        chosen = _chosen(_letters(session), typed)
        if not chosen:
            plain.err("No dead letters.")
            return DONE
        if not yes and not _sure(chosen):
            return SAID_NO
        for row in chosen:
            only_reply(session, {"verb": "drop_dead_letter", "sequence": row["sequence"], **whose(row)})
            _told(row, "dropped")
    return DONE


def _session() -> Session:
    return open_session(find_project(), say=plain.say)


def _check(typed: str | None, *, every: bool, verb: str) -> None:
    if every == (typed is not None):
        raise UsageError("Name a dead letter, or say --all.", hint=f"`microlith dead-letters {verb} @last`.")


def _letters(session: Session) -> list[Row]:
    """Read all dead letters, page by page, oldest first; where several processes have some, each names its own."""
    every = all_rows(session, "dead_letters", after=0, cursor="sequence")
    return sorted(every, key=lambda row: str(row["time"])) if processes_of(session) else every


def _place(row: Row) -> tuple[str, int]:
    return str(row.get("process", "")), int(row["sequence"])


def _chosen(letters: Sequence[Row], typed: str | None) -> Sequence[Row]:
    """Choose what was typed; several when one message failed in several handlers. None: all."""
    if typed is None:
        return letters
    if typed.startswith("@"):
        back = "1" if typed == "@last" else typed.removeprefix("@-")
        found = []
        if back.isascii() and back.isdigit() and len(back) < 10 and 0 < int(back) <= len(letters):
            found = [letters[-int(back)]]
    else:
        found = [row for row in letters if typed and matches(str(row["id"]), typed)]
    if not found:
        raise NoDeadLetterError(typed, letters)
    if len({row["id"] for row in found}) > 1:
        raise AmbiguousIdError(typed, [f"{short_id(str(row['id']))} ({row['message']})" for row in found])
    return found


def _whole(session: Session, row: Row) -> Row:
    """Read one letter with its payload."""
    asked = {"verb": "dead_letters", "after": row["sequence"] - 1, "limit": 1, "data": True, **whose(row)}
    found: Sequence[Row] = only_reply(session, asked)["dead_letters"]
    return {**found[0], **whose(row)} if found and found[0]["sequence"] == row["sequence"] else row


def _retry(session: Session, row: Row, limit: float, *, every: bool) -> int:
    """Have one tried again, and tell how that ended."""
    asked = {"verb": "retry_dead_letter", "sequence": row["sequence"], "timeout": limit, **whose(row)}
    for reply in session.request(asked, patience=limit + _SLACK):
        if "error" not in reply:
            _told(row, "ok")
            return DONE
        refused = RefusedError(reply["error"], int(reply.get("exit", SAID_NO)))
        kind = refused.error.get("type")
        if kind == "UnknownDeadLetterError" and "behind" in row:  # it went on by itself after the one before it
            _told(row, "ok")
            return DONE
        if kind == "ParkedError" and every:
            _told(row, "parked", refused)
            return SAID_NO
        if kind == "HandlerFailedError":
            _told(row, "failed", refused)
            return SAID_NO
        if refused.exit == TIMED_OUT:
            _told(row, "still running", refused)
            return TIMED_OUT
        raise refused
    return SAID_NO


def _told(row: Row, outcome: str, error: RefusedError | None = None) -> None:
    """Tell in one line what became of a letter."""
    if plain.settings.as_json:
        shown = {name: row[name] for name in ("sequence", "id", "correlationid", "handler", "message")}
        plain.out_json({**shown, **whose(row), "outcome": outcome, **({"error": error.as_dict()} if error else {})})
    else:
        words = (short_id(str(row["id"])), str(row["handler"]), str(row["message"]), outcome)
        plain.out("  ".join([*map(one_line, words), *([one_line(str(error))] if error else [])]))


def _sure(letters: Sequence[Row]) -> bool:
    """Ask on the terminal."""
    for row in letters:
        plain.err("  ".join(_cells(row)))
    return typer.confirm(f"Drop {plural(len(letters), 'dead letter')} for good?", err=True)


def _cells(row: Row, heads: Mapping[tuple[str, Any], Row] = MappingProxyType({})) -> tuple[str, ...]:
    """Tell a letter in a line; a parked one names the one it stands behind by the id that people type."""
    head = heads.get((_place(row)[0], row.get("behind")))
    error = row["error"] if head is None else f"parked behind {short_id(str(head['id']))}"
    when = ago(datetime.fromisoformat(str(row["time"])).timestamp(), time())
    told = (short_id(str(row["id"])), when, row["handler"], row["message"], row["attempts"], error)
    return tuple(map(one_line, told))


def _block(row: Row) -> str:
    told = {"message id": row["id"], "correlation id": row["correlationid"], "handler": row["handler"]}
    told |= {
        name: row[name]
        for name in ("time", "process", "attempts", "position", "behind", "error", "unreadable")
        if name in row
    }
    payload = blocks.message_block({"type": row["message"], "id": row["id"], "data": row.get("data", {})})
    return "\n".join([payload, "", *blocks.pairs(told)])
