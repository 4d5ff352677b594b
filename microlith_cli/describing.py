"""What is known about one type of message: from the catalog, from the trace log, from the file it stands in.

Gathers and shows nothing; imports no code of the user's.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from microlith.tracing.log import Logs, facts_holding
from microlith_cli.causation.nodes import HANDLED, STARTED, cause_of, id_of, kind_of, moment, read_handling
from microlith_cli.flags import example
from microlith_cli.places import class_line, module_file, shown
from microlith_cli.schema import Schema

Row = Mapping[str, Any]


def described(catalog: Row, entry: Row, *, root: Path, traces: Logs, taken: Sequence[str]) -> dict[str, Any]:
    """Gather everything about a message type, ready for JSON.

    Args:
        catalog: What the application consists of.
        entry: The message's entry in it.
        root: The project's folder.
        traces: Where its trace log is, or those of its processes.
        taken: Options that a field's flag must not be taken for.
    """
    schema = Schema(entry["schema"])
    name = str(entry["type"]).rpartition(".")[2]
    file = module_file(root, str(entry["module"]))
    # An aggregate or a process takes several types, each in a row of its own.
    taking = [row for row in catalog["handlers"] if row["name"] in entry["handlers"]]
    handlers = [row for row in taking if row["message"] == entry["type"]]
    causes = list(dict.fromkeys(message for row in handlers for message in row["emits"]))
    sending = [row for row in catalog["handlers"] if row["name"] in entry["emitted_by"]]
    emitters = [row for row in sending if entry["type"] in row["emits"]]
    example_line = example(entry["type"], schema, taken) if entry["kind"] != "response" else None
    if example_line and causes and entry["kind"] == "command":
        example_line += f" --wait {causes[0]}"
    return {
        "item": "message",
        **entry,
        "file": shown(file, root) if file else None,
        "line": class_line(file, name) if file else 0,
        "handled_by": [_placed(row, root) for row in handlers],
        "emitted_by": [
            *[_placed(row, root) for row in emitters],
            *({"name": other} for other in entry["emitted_by"] if other not in {row["name"] for row in emitters}),
        ],
        "causes": causes,
        "upcasters": [_placed(row, root) | {"version": row["version"]} for row in entry["upcasters"]],
        "middleware": [_middleware(row, root) for row in catalog["middleware"]],
        "projections": [_placed(row, root) for row in catalog["projections"] if entry["type"] in row["events"]],
        "asked_by": [row["type"] for row in catalog["messages"] if row.get("response") == entry["type"]],
        "fields": list(_fields(schema, entry)),
        "unhandled": _why_unhandled(catalog, entry, name),
        "last_seen": _last_seen(traces, entry),
        "example": example_line,
    }


def _placed(row: Row, root: Path) -> dict[str, Any]:
    kept = {key: row[key] for key in ("name", "line", "concurrency") if key in row}
    return {**kept, "file": shown(Path(row["file"]), root)} if "file" in row else kept


def _middleware(row: Row, root: Path) -> dict[str, Any]:
    """Say what of a middleware every message passes, and where it stands if that is in the project."""
    found = {"name": row["name"], "hooks": row["hooks"]}
    file = module_file(root, str(row["module"]))
    return {**found, "file": shown(file, root), "line": class_line(file, row["name"])} if file else found


def _fields(schema: Schema, entry: Row) -> Iterator[dict[str, Any]]:
    for field in schema.fields():
        secret = field.is_secret or field.name in entry["secrets"]
        yield {
            "name": field.name,
            "flag": field.flag,
            "kind": field.kind,
            "required": field.required,
            "default": "***" if secret and field.default is not None else field.default,
            "constraints": list(field.constraints),
            "secret": secret,
            "doc": field.doc,
        }


def _why_unhandled(catalog: Row, entry: Row, name: str) -> str | None:
    """Say why no handler takes a message; None when one does, or none has to."""
    if entry["handlers"] or entry["kind"] not in {"command", "query"}:
        return None
    namesakes = [
        f"{row['component']}.{name}, which {row['handlers'][0]} handles"
        for row in catalog["messages"]
        if str(row["type"]).rpartition(".")[2] == name and row["handlers"]
    ]
    if namesakes:
        return f"No handler takes it. There is also {namesakes[0]}: a handler may import the wrong one."
    return (
        f"No function is decorated with handles({name}) in a module below handlers/ of a component; "
        f"`microlith new handler {entry['component']}.{name}` adds one."
    )


def _last_seen(traces: Logs, entry: Row) -> dict[str, Any] | None:
    """Find the newest message of a type in the trace log, and what became of it; None when there is none."""
    handlings: dict[str, list[dict[str, Any]]] = {}
    for fact in facts_holding(traces, str(entry["type"]), newest_first=True):
        if fact.get("type") in {HANDLED, STARTED}:  # newer than the message it tells of
            handling = read_handling(fact)
            known = handlings.setdefault(cause_of(fact), [])
            if all(handling.handler != other["handler"] for other in known):
                told = {"handler": handling.handler, "outcome": handling.outcome, "took_ms": handling.took_ms}
                known.append({**told, "error": handling.error})
        elif fact.get("type") == entry["type"] and fact.get("component") == entry["component"] and id_of(fact):
            return {
                "id": id_of(fact),
                "correlationid": fact.get("correlationid"),
                "time": fact.get("time"),
                "moment": moment(fact.get("time")),
                "kind": kind_of(fact),
                "handlers": fact.get("handlers"),
                "handled": handlings.get(id_of(fact), [])[::-1],
            }
    return None
