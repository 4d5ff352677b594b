"""`microlith replay state`: the state of an aggregate or a process, as today's code folds it from its events.

The events come from the running application, or from the store as it lies there; the code that folds them is imported
here. Nothing is written, and no handler runs.
"""

import os
import sys
from typing import Annotated, Any

import typer

from microlith.event_store.event_copy import EventCopy
from microlith_cli.causation.comparing import ABSENT
from microlith_cli.console import plain
from microlith_cli.console.folded import state_block, step_block
from microlith_cli.console.ink import Ink
from microlith_cli.errors import DONE, ToolError, UsageError
from microlith_cli.event_log.lines import written_time
from microlith_cli.project import find_project, load_app
from microlith_cli.replaying.folding import Folding, Step, folding_of, steps, unknown_stream
from microlith_cli.replaying.history import names_of_streams, recorded
from microlith_cli.session import open_log

_LOOKED_AT = 20_000
"""Events that are looked at for streams of a similar name."""


def state(
    stream: Annotated[
        str, typer.Argument(metavar="STREAM", help="Name of the stream, such as account-42.", show_default=False)
    ],
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="POSITION", help="After this event: a stream position, @last, or @-2 and so on."),
    ] = None,
    with_steps: Annotated[bool, typer.Option("--steps", help="Show each event and what it changed.")] = False,
    folded_as: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="The aggregate, where the name of the stream fits several."),
    ] = None,
    reveal: Annotated[bool, typer.Option("--reveal", help="Show secrets and personal fields instead of ***.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> int:
    """Show the state that a stream folds to with today's code: that of an aggregate, or of a process."""
    plain.settings.as_json = as_json
    project = find_project()
    os.chdir(project.root)  # as under `run`: relative paths mean the same
    app = load_app(project)
    last: Step | None = None
    with open_log(project, say=plain.say) as session:
        copies = list(recorded(session, app.types, stream))
        if not copies:
            raise unknown_stream(stream, names_of_streams(session, _LOOKED_AT))
        folding = folding_of(app, stream, folded_as or "")
        until = _position(at, copies[-1][1].stream_position)
        wanted = (each for each in copies if each[1].stream_position <= until)
        for last in steps(folding, wanted, app.types, project.root, reveal=reveal):
            if with_steps:
                _show_step(last)
    if last is not None:
        _show_state(folding, last, len(copies))
    return DONE


def _position(at: str | None, end: int) -> int:
    """Read which event is the last one wanted.

    Raises:
        UsageError: It is no position.
        ToolError: The stream has no such event.
    """
    text = "@last" if at is None else at
    back = "1" if text == "@last" else text.removeprefix("@-") if text.startswith("@-") else ""
    plain_number = back or text
    if not (plain_number.isascii() and plain_number.isdigit() and len(plain_number) < 18):
        raise UsageError(f"--at takes a stream position, @last, or @-2 and so on, not {text!r}.")
    position = end + 1 - int(back) if back else int(text)
    if not 0 <= position <= end:
        raise ToolError(f"There is no event at {text}: the stream goes from 0 to {end}.")
    return position


def _show_step(step: Step) -> None:
    if plain.settings.as_json:
        changes = [
            {"name": name, **({"before": old} if old != ABSENT else {}), **({"after": new} if new != ABSENT else {})}
            for name, (old, new) in step.changes.items()
        ]
        plain.out_json({"item": "step", **_event(step), "changes": changes})
        return
    for line in step_block(_event(step), step.changes, Ink.of(sys.stdout)):
        plain.out(line)


def _show_state(folding: Folding, step: Step, events: int) -> None:
    told: dict[str, Any] = {"stream": step.copy.stream, "kind": folding.kind, "name": folding.name, "events": events}
    if plain.settings.as_json:
        plain.out_json({"item": "state", **told, **_event(step), "state": step.state})
        return
    for line in state_block({**told, **_event(step)}, step.state, Ink.of(sys.stdout)):
        plain.out(line)


def _event(step: Step) -> dict[str, Any]:
    copy: EventCopy = step.copy
    return {
        "streamposition": copy.stream_position,
        "position": step.position,
        "type": copy.type,
        "id": copy.message_id,
        "time": written_time(copy.microseconds),
    }
