"""`microlith graph`: who sends what to whom.

Drawn from what the code declares: which handler takes a message, and which messages its return annotation names. What a
handler dispatches on a bus by itself is not declared, and not drawn.

Asks the running application; without one, imports it and starts nothing.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from microlith_cli.console import plain
from microlith_cli.console.ink import one_line
from microlith_cli.errors import DONE, SAID_NO
from microlith_cli.project import find_project
from microlith_cli.session import component_named, read_catalog

Row = Mapping[str, Any]

_MEANT = re.compile(r"[^A-Za-z0-9 _.-]")
_TAKERS = {"handles": "→", "projects": "▤"}


class Form(StrEnum):
    """How to show it."""

    tree = "tree"
    mermaid = "mermaid"
    json = "json"


@dataclass(frozen=True, slots=True)
class Edge:
    """One arrow.

    Attributes:
        kind: "handles", "projects", "sends" or "answers".
        source: A message; for "sends" and "answers", a handler.
        target: A handler or projection; for "sends" and "answers", a message.
    """

    kind: str
    source: str
    target: str


def command(
    component: Annotated[
        str | None,
        typer.Argument(metavar="COMPONENT", help="Show what touches this component only.", show_default=False),
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="How to show it.")] = Form.tree,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json: one arrow a line.")] = False,
) -> int:
    """Show who sends what to whom: messages, the handlers and projections that take them, what those send."""
    plain.settings.as_json = as_json or form is Form.json
    catalog = read_catalog(find_project())
    if component is not None:
        component_named(catalog, component)
    messages = {str(row["type"]): row for row in catalog["messages"]}
    found = [edge for edge in edges(catalog) if component is None or component in _components(edge, messages)]
    if plain.settings.as_json:
        for edge in found:
            plain.out_json({"item": "arrow", "kind": edge.kind, "from": edge.source, "to": edge.target})
    else:
        for line in mermaid(found, messages) if form is Form.mermaid else tree(found, messages):
            plain.out(plain.escape(line))
    if not found:
        plain.say(
            f"no handler and no projection {f'touches {component}' if component else 'is declared'}: nothing to draw"
        )
    return DONE if found else SAID_NO


def edges(catalog: Row) -> list[Edge]:
    """Find every arrow in a catalog, each once, in the order in which things are declared."""
    found: list[Edge] = []
    answers = {row["type"]: row["response"] for row in catalog["messages"] if "response" in row}
    for handler in catalog["handlers"]:
        found.append(Edge("handles", handler["message"], handler["name"]))
        found += [Edge("sends", handler["name"], name) for name in handler["emits"] if name not in answers.values()]
        if handler["message"] in answers:
            found.append(Edge("answers", handler["name"], answers[handler["message"]]))
    for projection in catalog["projections"]:
        found += [Edge("projects", event, projection["name"]) for event in projection["events"]]
    return list(dict.fromkeys(found))


def tree(found: Sequence[Edge], messages: Mapping[str, Row]) -> Iterator[str]:
    """Draw arrows as lines, from each message that comes from outside; what was drawn above is named only."""
    takers, sent = _by_source(found, ("handles", "projects")), _by_source(found, ("sends", "answers"))
    inner = {edge.target for edge in found if edge.kind in {"sends", "answers"}}
    outer = [name for name in takers if name not in inner]
    drawn: set[str] = set()

    def below(name: str, depth: int) -> Iterator[str]:
        above = name in drawn and bool(takers.get(name))
        kind = one_line(messages[name]["kind"]) if name in messages else "message"
        yield f"{'  ' * depth}{one_line(name)}  {kind}{'  (above)' if above else ''}"
        if above:
            return
        drawn.add(name)
        for edge in takers.get(name, ()):
            yield f"{'  ' * (depth + 1)}{_TAKERS[edge.kind]} {one_line(edge.target)}"
            for following in sent.get(edge.target, ()):
                yield from below(following.target, depth + 2)

    for name in outer:
        yield from below(name, 0)
    for name in takers:  # a circle that nothing from outside leads into
        if name not in drawn:
            yield from below(name, 0)


def mermaid(found: Sequence[Edge], messages: Mapping[str, Row]) -> Iterator[str]:
    """Write arrows as a Mermaid flowchart, a box for each component.

    Source: https://mermaid.js.org/syntax/flowchart.html
    """
    names = dict.fromkeys(name for edge in found for name in (edge.source, edge.target))
    numbers = {name: f"n{number}" for number, name in enumerate(names)}
    yield "flowchart LR"
    boxes: dict[str, list[str]] = {}
    for name in names:
        boxes.setdefault(_component(name, messages), []).append(name)
    for number, (component, inside) in enumerate(boxes.items()):
        yield f'    subgraph c{number}["{_said(component)}"]'
        for name in inside:
            left, right = ('["', '"]') if name in messages else ('(["', '"])')
            yield f"        {numbers[name]}{left}{_said(name)}{right}"
        yield "    end"
    for edge in found:
        yield f"    {numbers[edge.source]} {'-.->' if edge.kind == 'projects' else '-->'} {numbers[edge.target]}"


def _by_source(found: Iterable[Edge], kinds: Sequence[str]) -> dict[str, list[Edge]]:
    grouped: dict[str, list[Edge]] = {}
    for edge in found:
        if edge.kind in kinds:
            grouped.setdefault(edge.source, []).append(edge)
    return grouped


def _components(edge: Edge, messages: Mapping[str, Row]) -> set[str]:
    return {_component(edge.source, messages), _component(edge.target, messages)}


def _component(name: str, messages: Mapping[str, Row]) -> str:
    return str(messages[name]["component"]) if name in messages else name.partition(".")[0]


def _said(text: str) -> str:
    return _MEANT.sub(lambda match: f"#{ord(match[0])};", text)
