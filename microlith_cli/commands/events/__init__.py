"""`microlith events`: the event log from the terminal; look at it, check it, take it elsewhere.

Asks the running application. Where none runs, the store is read as it lies there: nothing is started. An import writes,
so it wants the store for itself.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from microlith_cli.commands.events.erase import erase
from microlith_cli.console import plain
from microlith_cli.console.event_rows import event_block, event_row
from microlith_cli.console.ink import Ink
from microlith_cli.console.progress import show_progress
from microlith_cli.errors import DONE, SAID_NO, ConnectionLostError, NothingRunsError, RefusedError, UsageError
from microlith_cli.filtering import compile_filter
from microlith_cli.plurals import plural
from microlith_cli.project import find_project
from microlith_cli.session import LogSession, open_log
from microlith_cli.transferring.files import whole_file
from microlith_cli.transferring.pages import SILENCE, Selection, last_reply, newest, pages

command = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show payloads as they are stored, secrets in clear.")]
Stream = Annotated[str | None, typer.Option("--stream", metavar="NAME", help="Only events of this stream.")]
Types = Annotated[
    list[str] | None, typer.Option("--type", metavar="TYPE", help="Only events of this type; repeatable.")
]
Filter = Annotated[str, typer.Option("--filter", metavar="FILTER", help="Only what fits, such as 'data.sid=1'.")]

_LISTED = 20


@command.callback(invoke_without_command=True)
def events(context: typer.Context) -> None:
    """Look at the event log, check it, export and import it."""
    if context.invoked_subcommand is None:
        raise UsageError("What about the events?", hint="`microlith events list` shows the newest.")


command.command(short_help="Erase somebody's personal fields, for good.")(erase)


@command.command("list", short_help="List events, the newest last.")
def list_events(
    stream: Stream = None,
    types: Types = None,
    after: Annotated[
        int | None, typer.Option("--after", metavar="POSITION", min=-1, help="Events after this one, from the oldest.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, max=1_000_000, help="How many; 20, or all with --after.")
    ] = None,
    filter_text: Filter = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Also show what comes from now on.")] = False,
    reveal: Reveal = False,
    as_json: Json = False,
) -> int:
    """List events, the newest last; with --after, all that came after a position."""
    plain.settings.as_json = as_json
    compile_filter(filter_text, handlings=False)  # a mistake in it is told before anything is opened
    selection = Selection(-1 if after is None else after, stream, types or (), filter_text, reveal)
    with _log() as session:
        if follow and session.mode == "resting":
            raise NothingRunsError("No microlith is running, so there is nothing to follow.")
        counted = newest(session, selection, limit or _LISTED) if after is None else -1
        left = limit if after is not None else None
        shown = 0
        try:
            for page in pages(session, selection, cursor=counted, follow=follow):
                lines = page.lines if left is None else page.lines[: left - shown]
                _show(lines)
                shown += len(lines)
                if shown == left:
                    break
        except ConnectionLostError:
            if not follow:
                raise
            plain.err("the microlith has ended")
    if not shown and not follow:
        plain.err("No events." if selection == Selection(reveal=reveal) else "No such events.")
    return DONE if shown or follow else SAID_NO


@command.command(short_help="Show one event.")
def show(
    named: Annotated[
        str,
        typer.Argument(
            metavar="POSITION|ID", help="Position, beginning of an id or short id, or @last.", show_default=False
        ),
    ],
    reveal: Reveal = False,
    as_json: Json = False,
) -> int:
    """Show one event: its payload, and all that is known about it."""
    plain.settings.as_json = as_json
    with _log() as session:
        line = str(last_reply(session, {"verb": "event", "named": named, "reveal": reveal})["event"])
    plain.out(plain.harmless_json(line) if as_json else event_block(json.loads(line)))
    return DONE


@command.command(short_help="Write events as JSON lines.")
def export(
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="File to write; - for standard output.", show_default=False)
    ] = "-",
    stream: Stream = None,
    types: Types = None,
    after: Annotated[
        int, typer.Option("--after", metavar="POSITION", min=-1, help="Only events after this one.", show_default=False)
    ] = -1,
    filter_text: Filter = "",
    reveal: Annotated[
        bool, typer.Option("--reveal", help="With payloads as they are stored: only these can be imported.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
    as_json: Json = False,
) -> int:
    """Write the event log as JSON lines, each a CloudEvents 1.0 object; a file is written as a whole or not at all."""
    plain.settings.as_json = as_json
    compile_filter(filter_text, handlings=False)
    selection = Selection(after, stream, types or (), filter_text, reveal)
    count = 0
    path = None if file == "-" else Path(file).absolute()
    with _log() as session, show_progress(sys.stderr) as advance, _target(path, force=force) as target:
        for page in pages(session, selection):
            if page.lines:
                target.write("".join([plain.harmless_json(line) + "\n" for line in page.lines]).encode())
                count += len(page.lines)
            if stream is None:
                advance("export", page.cursor + 1, page.head + 1)
        target.flush()
    if as_json and path is not None:
        plain.out_json({"exported": count, "file": str(path), "masked": not reveal})
    else:
        told = "" if reveal else "; secrets are masked, so it cannot be imported (--reveal)"
        plain.say(f"{plural(count, 'event')} exported{f' to {path}' if path else ''}{told}")
    return DONE


@command.command("import", short_help="Take in what was exported.")
def import_file(
    file: Annotated[str, typer.Argument(metavar="FILE", help="File to read; - for standard input.")],
    unreadable: Annotated[
        bool, typer.Option("--unreadable", help="Also take events that this code cannot read.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Record exported events again, exactly, in an empty log or one that they continue; all of them or none.

    Nothing may be running. No handler sees what is imported: it is history. Read models are brought up to it.
    """
    plain.settings.as_json = as_json
    # The runtime, which the other commands need only where nothing runs.
    from microlith_cli.transferring.importing import import_events  # noqa: PLC0415

    project = find_project()
    with _source(file) as (stream, size), show_progress(sys.stderr) as advance:
        done = import_events(
            project, stream, unreadable=unreadable, advance=lambda read: advance("import, bytes", read, max(size, read))
        )
    for name, error in done.stopped:
        plain.complain(plain.escape(f"projection {name} stopped: {error}"))
    if as_json:
        plain.out_json(
            {
                "imported": done.events,
                "known": done.known,
                "head": done.head,
                "stopped": [name for name, _ in done.stopped],
            }
        )
    else:
        known = f" ({plural(done.known, 'event')} of the file had been there)" if done.known else ""
        plain.out(f"{plural(done.events, 'event')} imported{known}; the log ends at position {done.head}")
    return DONE


@command.command(short_help="Check every event against its checksums.")
def verify(as_json: Json = False) -> int:
    """Check every event against its checksums, and the chain from each commit to the next."""
    plain.settings.as_json = as_json
    with _log() as session, show_progress(sys.stderr) as advance:
        count = _verified(session, lambda done, total: advance("checksums", done, total))
    if as_json:
        plain.out_json({"verified": count})
    else:
        plain.out(f"{plural(count, 'event')} {'matches its' if count == 1 else 'match their'} checksums")
    return DONE


def _verified(session: LogSession, advance: Any) -> int:
    for reply in session.request({"verb": "verify"}, patience=SILENCE):
        if "progress" in reply:
            advance(int(reply["progress"]["done"]), int(reply["progress"]["total"]))
        if "error" in reply:
            raise RefusedError(reply["error"], int(reply.get("exit", SAID_NO)))
        if reply.get("end"):
            return int(reply["verified"])
    raise ConnectionLostError


def _log() -> LogSession:
    return open_log(find_project(), say=plain.say)


def _show(lines: Any) -> None:
    ink = Ink.of(sys.stdout)
    for line in lines:
        plain.out(plain.harmless_json(line) if plain.settings.as_json else event_row(json.loads(line), ink))


@contextmanager
def _target(path: Path | None, *, force: bool) -> Iterator[BinaryIO]:
    """Open what is written to. Lines are bytes: they are UTF-8 whatever the locale."""
    if path is None:
        yield sys.stdout.buffer
    else:
        with whole_file(path, force=force) as file:
            yield file


@contextmanager
def _source(file: str) -> Iterator[tuple[BinaryIO, int]]:
    """Open what is read, and tell its size; 0 for unknown."""
    if file == "-":
        yield sys.stdin.buffer, 0
        return
    try:
        with Path(file).open("rb") as stream:
            yield stream, Path(file).stat().st_size
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.") from error
