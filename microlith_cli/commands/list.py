"""`microlith list`: what an application consists of.

Asks the running application; without one, imports it and starts nothing.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from microlith_cli.console import blocks, plain
from microlith_cli.console.ink import Ink, cells
from microlith_cli.diagnosis.standings import UNKNOWN, read_standings, told
from microlith_cli.errors import DONE, SAID_NO
from microlith_cli.project import find_project
from microlith_cli.session import component_named, read_catalog, sharers

KINDS = ("command", "event", "query", "response")
SECTIONS = ("components", "messages", "handlers", "processes", "projections")

Row = Mapping[str, Any]


def command(
    component: Annotated[
        str | None, typer.Argument(metavar="COMPONENT", help="Show this component only.", show_default=False)
    ] = None,
    components: Annotated[bool, typer.Option("--components", help="Show the components.")] = False,
    messages: Annotated[bool, typer.Option("--messages", help="Show the messages.")] = False,
    handlers: Annotated[bool, typer.Option("--handlers", help="Show the handlers.")] = False,
    processes: Annotated[bool, typer.Option("--processes", help="Show the process managers.")] = False,
    projections: Annotated[bool, typer.Option("--projections", help="Show the projections.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> int:
    """List messages, handlers, components and projections."""
    asked = dict(zip(SECTIONS, (components, messages, handlers, processes, projections), strict=True))
    project = find_project()
    catalog = read_catalog(project)
    if component is not None:
        component_named(catalog, component)
    shown = {
        section: [row for row in _rows(catalog, section) if component in {None, _owner(row)}]
        for section in SECTIONS
        if asked[section] or not any(asked.values())
    }
    if not asked["processes"] and not shown.get("processes"):
        shown.pop("processes", None)  # most applications have none
    if shown.get("components") and (hellos := sharers(project)):
        shown["components"] = [{**row, "processes": _sharers(row, hellos)} for row in shown["components"]]
    if shown.get("projections"):
        standings = read_standings(project)
        shown["projections"] = [{**row, **standings.get(row["name"], UNKNOWN)} for row in shown["projections"]]
    if as_json:
        for section, rows in shown.items():
            for row in rows:
                plain.out_json({"item": "process" if section == "processes" else section.removesuffix("s"), **row})
    else:
        plain.out("\n\n".join(_section(section, rows, project.root) for section, rows in shown.items()))
    return DONE if any(shown.values()) else SAID_NO


def _rows(catalog: Row, section: str) -> Sequence[Row]:
    if section == "components":
        return [{"name": name} for name in catalog["components"]]
    rows: Sequence[Row] = catalog.get(section, ())
    if section == "messages":
        return sorted(rows, key=lambda row: (row["component"], KINDS.index(row["kind"]), row["type"]))
    return sorted(rows, key=lambda row: str(row["name"]))


def _sharers(row: Row, hellos: Sequence[Row]) -> list[Row]:
    """The processes that share a component's store; those of the whole application run every component."""
    return [
        {"name": hello["process"], "leads": hello["leads"]}
        for hello in hellos
        if row["name"] in (hello["components"] or [row["name"]])
    ]


def _owner(row: Row) -> str:
    """The component a row belongs to: said, or the first part of its name."""
    return str(row["component"] if "component" in row else row["name"]).partition(".")[0]


def _section(section: str, rows: Sequence[Row], root: Path) -> str:
    told = [(*_COLUMNS[section](row), _place(row, root)) for row in rows]
    lines = [f"  {plain.escape(line)}" for line in blocks.columns(told) or ["none"]]
    if sys.stdout.isatty() and max(map(cells, lines)) > Ink.of(sys.stdout).width:  # in a pipe, a row is a line
        lines = [f"  {plain.escape(line)}" for line in _below_each_other(told)]
    return "\n".join([section, *lines])


def _below_each_other(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lay out rows that are too wide: the last two cells stand below the others."""
    for head, row in zip(blocks.columns([row[:-2] or row[:1] for row in rows]), rows, strict=True):
        yield head
        yield from (f"    {cell}" for cell in row[-2:] if cell and len(row) > 2)


def _component(row: Row) -> Sequence[str]:
    processes = [f"{one['name']}{' leads' if one['leads'] else ''}" for one in row.get("processes", ())]
    return (row["name"], f"shared by {', '.join(processes)}" if processes else "")


def _message(row: Row) -> Sequence[str]:
    takers = ", ".join(row["handlers"])
    if not takers and row["kind"] in {"command", "query"}:
        takers = "nobody handles it"
    return (row["kind"], row["component"], row["type"], takers)


def _handler(row: Row) -> Sequence[str]:
    return (row["name"], row["message"], f"→ {', '.join(row['emits'])}" if row["emits"] else "")


def _process(row: Row) -> Sequence[str]:
    key = f"by {row['key']}" if row["key"] else "by correlation"
    continued = f", then {', '.join(row['continues'])}" if row["continues"] else ""
    return (row["name"], key, f"{', '.join(row['starts'])}{continued}")


def _projection(row: Row) -> Sequence[str]:
    return (row["name"], row["kind"], told(row), ", ".join(row["events"]))


def _place(row: Row, root: Path) -> str:
    if "file" not in row:
        return ""
    file = Path(row["file"])
    return f"{file.relative_to(root) if file.is_relative_to(root) else file}:{row['line']}"


_COLUMNS = {
    "components": _component,
    "messages": _message,
    "handlers": _handler,
    "processes": _process,
    "projections": _projection,
}
