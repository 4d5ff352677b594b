"""`microlith describe MESSAGE`: everything there is to know about one type of message.

Asks the running application; without one, imports it and starts nothing. When it was last seen is read
in the trace log.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from textwrap import wrap
from typing import Annotated, Any

import typer

from microlith_cli.commands import WORDS
from microlith_cli.console import blocks, plain
from microlith_cli.console.ink import Ink, cells
from microlith_cli.describing import described
from microlith_cli.errors import DONE
from microlith_cli.project import find_project
from microlith_cli.session import message_named, read_catalog

_HOOKS = {
    "dispatching": "when it is sent",
    "handling": "around its handlers",
    "retrying": "on trying again",
    "settled": "after each handling",
}
_NARROWEST = 24
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def command(
    message: Annotated[
        str, typer.Argument(metavar="MESSAGE", help="Its class name, or component.Type.", show_default=False)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> int:
    """Show one message: fields, handlers, senders, projections, versions, middleware, and when it was last seen."""
    project = find_project()
    catalog = read_catalog(project)
    entry = message_named(catalog, message)
    found = described(catalog, entry, root=project.root, traces=project.traces, taken=WORDS["dispatch"])
    if as_json:
        plain.out_json(found)
    else:
        plain.out("\n".join(_lines(found)))
    return DONE


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield plain.escape(f"{found['type']}  {found['kind']} of {found['component']}")
    if found["doc"]:
        yield from blocks.paragraphs(found["doc"])
    yield ""
    yield from blocks.pairs(_fitted(dict(_facts(found))))
    yield ""
    yield "  fields"
    rows = [(f"    {each['name']}", each["kind"], _remark(each)) for each in found["fields"]]
    yield from map(plain.escape, blocks.columns(rows) or ["    none"])
    if found["example"]:
        yield ""
        yield "  example"
        yield f"    {plain.escape(found['example'])}"


def _fitted(facts: Mapping[str, str]) -> dict[str, str]:
    """Break what is wider than the terminal between words; what goes on stands two cells further in."""
    if not sys.stdout.isatty():  # in a pipe, a row is a line
        return dict(facts)
    room = max(_NARROWEST, Ink.of(sys.stdout).width - max(map(len, facts)) - 4)

    def broken(line: str) -> str:
        rows = wrap(line, room, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        return "\n".join(rows) if cells(line) > room else line

    return {name: "\n".join(map(broken, value.split("\n"))) for name, value in facts.items()}


def _facts(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    kind = found["kind"]
    place = f"{found['file']}:{found['line']}" if found["file"] else f"module {found['module']}"
    yield "defined in", place
    if kind == "response":
        yield "answers", ", ".join(found["asked_by"]) or "no query"
    else:
        nobody = found["unhandled"] or ("nobody, and an event needs no handler" if kind == "event" else "nobody")
        yield "handled by", _below_each_other(map(_handler, found["handled_by"])) or nobody
        if found["causes"]:
            yield "answered by" if kind == "query" else "causes", ", ".join(found["causes"])
        elif "response" in found:
            yield "answered by", found["response"]
    outside = "no handler says so: dispatched from outside, or by `bus.dispatch`"
    yield "emitted by", _below_each_other(map(_placed, found["emitted_by"])) or outside
    if kind == "event":
        yield "projections", _below_each_other(map(_placed, found["projections"])) or "none"
    yield from _shapes(found)
    yield "middleware", _below_each_other(map(_middleware, found["middleware"])) or "none"
    yield "last seen", _last_seen(found["last_seen"])


def _shapes(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The version, how earlier ones are read, and the names it had."""
    if found["kind"] not in {"command", "event"}:  # nothing else is stored
        return
    read = [f"{each['version']} → {each['version'] + 1}  {_placed(each)}" for each in found["upcasters"]]
    yield "version", _below_each_other([str(found["version"]), *read])
    if found["formerly"]:
        yield "formerly", ", ".join(found["formerly"])


def _middleware(row: Mapping[str, Any]) -> str:
    hooks = ", ".join(_HOOKS[hook] for hook in row["hooks"]) or "does nothing"
    return f"{_placed(row)}  {hooks}"


def _below_each_other(rows: Iterable[str]) -> str:
    return "\n".join(rows)


def _handler(row: Mapping[str, Any]) -> str:
    count = row["concurrency"]
    return f"{_placed(row)}  {'one at a time' if count == 1 else f'up to {count} at a time'}"


def _placed(row: Mapping[str, Any]) -> str:
    return f"{row['name']}  {row['file']}:{row['line']}" if "file" in row else str(row["name"])


def _remark(field: Mapping[str, Any]) -> str:
    """What else to know about a field: whether it must be given, its limits, its author's words."""
    default = f"default {field['default']}" if field["default"] is not None else "optional"
    parts = ["required" if field["required"] else default, *field["constraints"]]
    if field["secret"]:
        parts.append("shown as ***")
    return f"{', '.join(parts)}. {field['doc']}".strip()


def _last_seen(seen: Mapping[str, Any] | None) -> str:
    if seen is None:
        return "not in the trace log"
    outcomes = []
    for handling in seen["handled"]:
        took = f" in {handling['took_ms']:.1f} ms" if handling["took_ms"] is not None else ""
        error = handling["error"] or {}
        why = f": {error.get('type')}: {error.get('message')}" if error else ""
        outcomes.append(f"{handling['handler']} {handling['outcome']}{took}{why}")
    if not outcomes and seen["handlers"] and seen["kind"] != "response":
        outcomes.append("not handled yet")
    ago = f" ({_ago(seen['moment'])})" if seen["moment"] is not None else ""
    return "\n".join(
        [f"{seen['time']}{ago}", *outcomes, f"`microlith trace {blocks.short_id(seen['id'])}` shows what it caused"]
    )


def _ago(moment: float) -> str:
    seconds = max(0, int(time.time() - moment))
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), _UNITS[-1])
    return f"{seconds // size}{unit} ago"
