"""`microlith check`: whether components keep to themselves, and messages that lead nowhere.

A component may import another one's messages, and nothing else of it. That is read in the files; which
messages lead nowhere is asked of the running application or, without one, of the imported one.

Changes nothing.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from microlith_cli.boundaries import Crossing, Sources
from microlith_cli.console import plain
from microlith_cli.errors import DONE, SAID_NO
from microlith_cli.places import class_line, module_file, shown
from microlith_cli.plurals import plural
from microlith_cli.project import find_project
from microlith_cli.session import read_catalog

Finding = dict[str, Any]


def command(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False) -> int:
    """Check that components import only messages of each other; note messages that lead nowhere."""
    project = find_project()
    sources = Sources(project.root, _folder(project.root, project.app))
    found = [_crossing(each) for each in sources.crossings()]
    _show(found, as_json=as_json)  # before the application is imported, which may fail
    notes = list(_notes(read_catalog(project), project.root))
    _show(notes, as_json=as_json)
    counted = f"{plural(len(sources.files), 'module')}, {plural(len(set(sources.components.values())), 'component')}"
    plain.say(f"checked {counted}: {plural(len(found), 'error')}, {plural(len(notes), 'note')}")
    return SAID_NO if found else DONE


def _folder(root: Path, app: str) -> Path:
    """Where the packages of the project lie: beside the one with the application."""
    file = module_file(root, app.partition(":")[0].partition(".")[0])
    if file is None:
        return root
    return file.parent.parent if file.name == "__init__.py" else file.parent


def _crossing(each: Crossing) -> Finding:
    place = {"severity": "error", "file": each.file, "line": each.line}
    if not each.owner:
        return {"code": "ML101", **place, "what": f"cannot be read: {each.imported}", "fix": each.fix}
    what = f"{each.component} imports {each.imported}, which belongs to {each.owner} and is no message"
    more = {"component": each.component, "owner": each.owner, "imported": each.imported}
    return {"code": "ML102", **place, "what": what, "fix": each.fix, **more}


def _notes(catalog: Mapping[str, Any], root: Path) -> Iterator[Finding]:
    """Messages that nobody handles although one should, or that nobody has to do with."""
    taken = {event for row in catalog["projections"] for event in row["events"]}
    for entry in catalog["messages"]:
        name = entry["type"]
        if entry["handlers"]:
            continue
        if entry["kind"] in {"command", "query"}:
            short = name.rpartition(".")[2]
            fix = f"microlith new handler {entry['component']}.{short}"
            yield {"code": "ML103", **_place(entry, root), "what": f"nobody handles {entry['kind']} {name}", "fix": fix}
        elif entry["kind"] == "event" and not entry["emitted_by"] and name not in taken:
            what = f"no handler returns event {name}, and nobody takes it"
            yield {
                "code": "ML104",
                **_place(entry, root),
                "what": what,
                "fix": "return it from a handler, or remove it",
            }


def _place(entry: Mapping[str, Any], root: Path) -> Finding:
    file = module_file(root, entry["module"])
    name = entry["type"].rpartition(".")[2]
    where = {"file": shown(file, root), "line": class_line(file, name)} if file else {"file": None, "line": 0}
    return {"severity": "note", **where, "type": entry["type"]}


def _show(found: list[Finding], *, as_json: bool) -> None:
    for row in found:
        if as_json:
            plain.out_json({"item": "finding", **row})
        else:
            place = f"{row['file']}:{row['line']}: " if row["file"] else ""
            plain.out(plain.escape(f"{place}{row['code']} {row['severity']}: {row['what']}; {row['fix']}"))
