"""`microlith replay message`: a copy of one recorded message, sent anew.

The copy is a message of its own: it has new ids, starts a correlation, and is recorded like any other. Its headers say
what it is a copy of.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

import typer

from microlith.ids import matches, short_id
from microlith.tracing.log import facts_holding
from microlith_cli.causation import build_trees, kind_of
from microlith_cli.commands.replay.asking import agreed, check_can_ask
from microlith_cli.console import plain
from microlith_cli.console.tree import show_tree
from microlith_cli.errors import (
    DONE,
    SAID_NO,
    AmbiguousIdError,
    ConnectionLostError,
    RefusedError,
    ToolError,
    UsageError,
)
from microlith_cli.filling import MASKED, refilled
from microlith_cli.headers import read_headers
from microlith_cli.options import seconds
from microlith_cli.project import Project, find_project
from microlith_cli.session import Mode, Session, only_reply, open_session
from microlith_cli.transferring.pages import last_reply

HEADER = "replayof"
"""Header of a copy: the id of the message it is a copy of."""
_GRACE = 5.0  # seconds more than the timeout, for the answer to come


class Original(NamedTuple):
    """A recorded message: its id, its type, and its fields, where what is not known has the mask for a value."""

    id: str
    type: str
    data: Mapping[str, Any]


def message(
    context: typer.Context,
    named: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="Position of an event, @last, or the beginning of the id or short id of an event, command or query.",
            show_default=False,
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: handlers may run.")] = False,
    timeout: Annotated[str, typer.Option("--timeout", metavar="TIME", help="How long it may take.")] = "5s",
    quiet_for: Annotated[
        str | None,
        typer.Option("--quiet-for", metavar="TIME", help="Wait until nothing is left to do for so long."),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", metavar="NAME=VALUE", help="A header of the copy, as for `dispatch`; repeatable."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Run the application in this process.")] = False,
    attach: Annotated[bool, typer.Option("--attach", help="Use the running application; 4 when none runs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what happens as CloudEvents, one a line.")] = False,
) -> int:
    """Send a copy of one recorded message, and show what it causes: handlers react to it as to any other.

    An event comes from the log; a command or a query from the trace log, where secrets are masked: they are given as
    flags of the message, --password VALUE. The copy goes to the component's stream, never to that of an aggregate.
    """
    plain.settings.as_json = as_json
    check_can_ask(yes=yes)
    if once and attach:
        raise UsageError("--once and --attach exclude each other.")
    longest = seconds(timeout, "--timeout")
    headers = read_headers(header or ())
    quiet = 0.0 if quiet_for is None else seconds(quiet_for, "--quiet-for")
    mode: Mode = "once" if once else "attach" if attach else "auto"
    project = find_project()
    with open_session(project, mode, say=plain.say) as session:
        original = _original(project, session, named)
        entry = only_reply(session, {"verb": "describe", "type": original.type})["message"]
        payload = refilled(entry, context.args, original.data)
        if not agreed(f"{original.type} {short_id(original.id)}", yes=yes):
            return SAID_NO
        request: dict[str, Any] = {
            "verb": "dispatch",
            "type": original.type,
            "data": payload,
            "headers": {**headers, HEADER: original.id},
        }
        request |= {"trace": True, "timeout": longest, "quiet_for": quiet}
        return _follow(session.request(request, patience=longest + _GRACE))


def _original(project: Project, session: Session, named: str) -> Original:
    """Find the message that somebody means: in the log, or in the trace log.

    Raises:
        ToolError: There is none.
        UsageError: There are several, or it is a step of a process.
    """
    found = {fact["id"]: fact for fact in _traced(project, named)}
    try:
        reply = last_reply(session, {"verb": "event", "named": named, "copied": True})
    except RefusedError as error:
        if error.error.get("type") != "NoEventError":
            raise
        if not found:
            raise ToolError(
                f"{named!r} is no event of the log, and no command or query in the trace log.",
                hint="`microlith events list` and `microlith trace` show them.",
            ) from None
        copied = None
    else:
        copied = reply["copied"]
        if str(json.loads(reply["event"])["position"]) == named:
            found.clear()  # a position is no beginning of an id
    if len(found) + (copied is not None) > 1:
        shown = [f"{short_id(each)} ({fact['type']})" for each, fact in found.items()]
        shown += [] if copied is None else [f"{short_id(copied['id'])} ({copied['type']})"]
        raise AmbiguousIdError(named, shown)
    if copied is None:
        ((identifier, fact),) = found.items()
        return Original(identifier, str(fact["type"]), fact.get("data") or {})
    if copied["step_of"]:
        raise UsageError(
            f"{named!r} is a step of the process {copied['step_of']}, which means something in its own stream only.",
            hint="Send a copy of the event that the process took.",
        )
    return Original(copied["id"], copied["type"], copied["data"] | dict.fromkeys(copied["erased"], MASKED))


def _traced(project: Project, named: str) -> Iterator[Mapping[str, Any]]:
    """Look in the trace log for commands and queries of an id."""
    if named.startswith("@"):
        return
    for fact in facts_holding(project.traces, named):
        identifier = fact.get("id")
        if not isinstance(identifier, str) or "bus" not in fact or not matches(identifier, named):
            continue
        if kind_of(fact) in ("command", "query"):
            yield fact


def _follow(replies: Iterator[dict[str, Any]]) -> int:
    """Show what the copy causes, until the end; returns the exit code."""
    facts: list[dict[str, Any]] = []
    for reply in replies:
        if "accepted" in reply:
            accepted = reply["accepted"]
            plain.say(f"accepted {accepted.get('type')} {short_id(str(accepted.get('id', '')))}")
        if "fact" in reply:
            facts.append(reply["fact"])
            if plain.settings.as_json:
                plain.out_json(reply["fact"])
        if reply.get("end"):
            break
    else:
        raise ConnectionLostError
    for tree in () if plain.settings.as_json else build_trees(facts):
        show_tree(tree, sys.stdout)
    code = int(reply.get("exit", SAID_NO if "error" in reply else DONE))
    if "error" in reply:
        error = dict(reply["error"])
        raise RefusedError(error | ({"report": reply["report"]} if reply.get("report") else {}), code)
    return code
