"""`microlith replay correlation`: what today's code would do with the first message of a recorded correlation.

It runs in this process, on a copy of the log in memory; the store, its keys, read models and the trace log are only
read. What handlers do outside, they do.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from microlith import Microlith
from microlith.application.microlith import IN_MEMORY
from microlith.event_store.event_copy import EventCopy
from microlith.secrecy import reveal
from microlith.tracing.finding import find_correlation
from microlith.tracing.log import read_facts
from microlith_cli.causation import Fact, build_tree, kind_of
from microlith_cli.causation.comparing import compare
from microlith_cli.causation.nodes import SCHEDULED
from microlith_cli.causation.redacting import redactor
from microlith_cli.commands.replay.asking import agreed, check_can_ask
from microlith_cli.console import plain
from microlith_cli.console.difference import show_difference
from microlith_cli.errors import DONE, SAID_NO, ToolError, UsageError
from microlith_cli.filling import refilled
from microlith_cli.options import seconds
from microlith_cli.plurals import plural
from microlith_cli.project import Project, find_project, load_app
from microlith_cli.replaying.history import recorded
from microlith_cli.replaying.scratch import Again, before, run_again, unscheduled
from microlith_cli.session import message_named, open_log
from microlith_cli.transferring.files import whole_file


def correlation(
    context: typer.Context,
    named: Annotated[
        str,
        typer.Argument(metavar="ID", help="A correlation, as for `microlith trace`.", show_default=False),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: handlers may run.")] = False,
    timeout: Annotated[str, typer.Option("--timeout", metavar="TIME", help="How long it may take.")] = "30s",
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Write the new trace, as `trace export` does.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for each message that differs.")
    ] = False,
) -> int:
    """Run the first message of a correlation again with today's code, beside the log, and compare what comes of it.

    Nothing recorded is touched, but handlers really run. What is masked in the trace log is given as flags of the message:
    --password VALUE. Exit code 1 when anything differs by meaning.
    """
    plain.settings.as_json = as_json
    check_can_ask(yes=yes)
    longest = seconds(timeout, "--timeout")
    project = find_project()
    identifier = find_correlation(project.traces, named)
    facts = list(read_facts(project.traces, correlation=identifier))
    first = _first_of(named, facts)
    os.chdir(project.root)  # as under `run`: relative paths mean the same
    app = load_app(project)
    history, payload = _prepared(project, app, facts, first, context.args)
    if not agreed(str(first["type"]), yes=yes):
        return SAID_NO
    again = run_again(app, history, str(first["type"]), payload, longest)
    _tell(again, history)
    if export is not None:
        _export(again.facts, export)
    return _compared(identifier, unscheduled(facts), again)


def _first_of(named: str, facts: Sequence[Fact]) -> Fact:
    for fact in facts:
        if "bus" in fact and "causationid" not in fact and isinstance(fact.get("data"), dict):
            return fact
    raise UsageError(
        f"The first message of {named} is not in the trace log, or not any more.", hint="Choose a newer one."
    )


def _prepared(
    project: Project, app: Microlith, facts: Sequence[Fact], first: Fact, flags: list[str]
) -> tuple[list[EventCopy], dict[str, Any]]:
    """Read what the log held before, and put the message together."""
    if app.store_url == IN_MEMORY:
        raise ToolError(
            "The store is in memory: what it held before this correlation is not known.",
            hint="Set [tool.microlith.store] url, such as sqlite:.microlith/events.db.",
        )
    entry = message_named(app.catalog(), str(first["type"]))
    data: Mapping[str, Any] = first["data"]
    if kind_of(first) != "event":
        refilled(entry, flags, data)  # what is wrong with it is told before the log is read
    with open_log(project, say=plain.say) as session:
        history, own = before(recorded(session, app.types), str(first["correlationid"]), facts)
    if own is not None and own.message_id == first["id"]:
        message = app.types.decode(own.component, own.type, own.version, own.data, message_id=own.message_id)
        data = reveal(message)
    return history, refilled(entry, flags, data)


def _tell(again: Again, history: Sequence[EventCopy]) -> None:
    """Tell what the comparison does not show."""
    plain.say(f"ran on {plural(len(history), 'event')} of history, in memory; nothing was recorded")
    for fact in again.facts:
        if fact["type"] == SCHEDULED:
            plain.say(f"scheduled, and not waited for: {fact['data']['message']}, due {fact['data']['due']}")
    if again.left_out:
        plain.say(f"left out, since their rows are kept elsewhere: {', '.join(again.left_out)}")


def _export(facts: Sequence[Fact], path: Path) -> None:
    redact = redactor("values")
    with whole_file(path, force=False) as file:
        file.write("".join(f"{plain.json_line(redact(fact))}\n" for fact in facts).encode())


def _compared(identifier: str, facts: Sequence[Fact], again: Again) -> int:
    recorded_tree, tree = build_tree(identifier, facts), build_tree(again.correlation_id, unscheduled(again.facts))
    pairs = compare(recorded_tree, tree)
    for pair in pairs:  # a process that has just started is slow
        pair.changes = [change for change in pair.changes if change.what != "slower"]
    if plain.settings.as_json:
        for pair in pairs:
            if pair.telling:
                plain.out_json(pair.as_dict())
    else:
        show_difference(recorded_tree, tree, pairs, sys.stdout)
    return SAID_NO if any(pair.what != "same" for pair in pairs) else DONE
