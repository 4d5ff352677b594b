"""`microlith broker setup`: the queues, topics and exchanges that the application needs, made at its brokers.

`run` makes them at its start, too; this is for a place where applications may not, and to see what would be made.

Imports the application; sends and takes nothing.
"""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from microlith_cli.console import blocks, plain
from microlith_cli.console.ink import Ink, cells
from microlith_cli.errors import DONE, SAID_NO
from microlith_cli.plurals import plural
from microlith_cli.project import find_project, load_app

if TYPE_CHECKING:
    from microlith.transports import Change

_INDENT = " " * 10

command = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@command.callback()
def broker() -> None:
    """Make at the brokers what the application needs there."""


@command.command()
def setup(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be made; make nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> int:
    """Make the queues, topics and exchanges that are missing, or show them."""
    app = load_app(find_project())
    connections = app.connections()
    if not connections.topologies():
        plain.say("every bus is in memory: there is no broker to set up")
        return DONE
    found = asyncio.run(connections.plan())
    differs = [change for _, change in found if change.action == "differs"]
    for place, change in found:
        if as_json:
            plain.out_json({"item": "change", "broker": place, **change._asdict(), "done": not (dry_run or differs)})
    if not as_json:
        plain.out("\n".join(_lines([change for _, change in found])) or "nothing is missing")
    if differs:
        plain.say(f"{plural(len(differs), 'thing')} there differ; nothing was changed")
        return SAID_NO
    if found and not dry_run:
        asyncio.run(connections.create())
    if found:
        plain.say(f"{plural(len(found), 'thing')} {'would be made' if dry_run else 'made'}")
    return DONE


def _lines(changes: Sequence["Change"]) -> Iterator[str]:
    """Write each change in a line; at a terminal, details that have no room in it stand below, broken at spaces."""
    rows = [[plain.escape(text) for text in (each.action, each.what, each.name, each.detail)] for each in changes]
    whole, heads = blocks.columns(rows), blocks.columns([row[:-1] for row in rows])
    at_terminal = sys.stdout is not None and sys.stdout.isatty()
    ink = Ink.of(sys.stdout) if at_terminal else None
    for line, head, row in zip(whole, heads, rows, strict=True):
        if ink is None or cells(line) <= ink.width:
            yield line
        else:
            yield head
            yield from wrap(
                row[-1], ink.width, initial_indent=_INDENT, subsequent_indent=_INDENT, break_on_hyphens=False
            )
