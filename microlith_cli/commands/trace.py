"""`microlith trace`: what one message caused, the newest correlations, or everything as it happens.

Looks back in the trace log, so nothing needs to run; only `--follow` asks the running microlith.
Imports no code of the user's, and neither pydantic nor rich.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Annotated, Any, Literal

import typer

from microlith.tracing.log import CURRENT, TraceNotFoundError, correlations, find_correlation, read_facts
from microlith_cli.causation import Fact, Tree, build_tree
from microlith_cli.console import plain
from microlith_cli.console.lines import show_lines
from microlith_cli.console.listing import show_correlations
from microlith_cli.console.live import LiveTracer
from microlith_cli.console.mermaid import mermaid_lines
from microlith_cli.console.tree import MOST_MESSAGES, show_tree
from microlith_cli.control.client import RemoteSession, attach
from microlith_cli.errors import (
    DONE,
    SAID_NO,
    ConnectionLostError,
    NothingRunsError,
    RefusedError,
    ToolError,
    UsageError,
)
from microlith_cli.filtering import compile_filter
from microlith_cli.project import Project, find_project

Format = Literal["tree", "lines", "json", "mermaid"]

_LISTED = 20
"""Correlations in the list, unless another number is asked for."""


class NothingPassesError(ToolError):
    """The trace log holds something, and none of it passes the filter."""

    def __init__(self, where: str, text: str) -> None:
        super().__init__(
            f"Nothing in {where} passes the filter {text!r}.", hint="`microlith trace` lists the newest correlations."
        )


def command(
    correlation: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID|@last|@failed]",
            help="The correlation: the beginning of an id or of a short id, @last, @-2 for the one before, @failed. "
            "Left out: list the newest.",
            show_default=False,
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show what happens from now on.")] = False,
    filter_text: Annotated[
        str,
        typer.Option(
            "--filter",
            metavar="FILTER",
            help="Show what fits, such as 'type:Login* status:failed took:>50ms since:5m'.",
        ),
    ] = "",
    form: Annotated[
        Format | None,
        typer.Option("--format", help="How to show it; lines are for searching.", show_default="tree"),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            "-n",
            min=1,
            metavar="N",
            help="Correlations in the list (default 20), messages in a tree (400), or facts to follow (no end).",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> int:
    """Show what one message caused, or everything as it happens."""
    form = "json" if as_json else form
    plain.settings.as_json = form == "json"  # for errors
    passes = compile_filter(filter_text)  # a mistake in it is told before anything is read
    project = find_project()
    if follow:
        return _follow(project, correlation, filter_text, form, limit)
    if correlation is not None:
        return _show(project, correlation, filter_text, form or "tree", limit)
    return _list(project, filter_text, passes, form or "tree", limit or _LISTED)


def _show(project: Project, typed: str, filter_text: str, form: Format, limit: int | None) -> int:
    """Show one correlation."""
    identifier = find_correlation(project.state, typed)
    facts = read_facts(project.state, correlation=identifier)
    if form in {"tree", "mermaid"}:
        if filter_text:
            raise UsageError(
                f"A {form} shows a correlation whole; a filter would leave holes.",
                hint="Leave out the id to filter correlations, or use --format lines to filter facts.",
            )
        _draw(build_tree(identifier, facts), form, limit)
        return DONE
    passes = compile_filter(filter_text)
    shown = _write_facts(islice(filter(passes, facts), limit), form)
    return DONE if shown else SAID_NO


def _list(project: Project, filter_text: str, passes: Callable[[Fact], bool], form: Format, limit: int) -> int:
    """List the newest correlations, or the newest facts."""
    if form == "mermaid":
        raise UsageError("A diagram shows one correlation.", hint="Add its id: microlith trace @last --format mermaid")
    if form == "lines":
        shown = _write_facts(_newest(project, passes if filter_text else None, limit), form)
    else:
        fitting = ((each, facts) for each, facts in correlations(project.state) if any(map(passes, facts)))
        shown = _write_list(islice(fitting, limit), form)
    if shown:
        return DONE
    if next(correlations(project.state), None) is None:
        raise TraceNotFoundError("@last", project.state, [])
    raise NothingPassesError(str(project.state / CURRENT), filter_text)


def _newest(project: Project, passes: Callable[[Fact], bool] | None, limit: int) -> Iterable[Fact]:
    """Read the newest facts, oldest first."""
    if passes is None:
        return list(islice(read_facts(project.state, newest_first=True), limit))[::-1]
    # From the oldest on: a filter must have seen a message to judge its handling.
    return deque(filter(passes, read_facts(project.state)), maxlen=limit)


def _follow(project: Project, typed: str | None, filter_text: str, form: Format | None, limit: int | None) -> int:
    """Show facts as they come, until the user, the limit or the microlith ends it."""
    if form == "mermaid":
        raise UsageError("A diagram shows what is over.", hint="Leave out --follow.")
    session = attach(project.state)
    if session is None:
        raise NothingRunsError(
            f"No microlith of {project.name} is running, so there is nothing to follow.",
            hint="Start it with `microlith run`; without --follow, `microlith trace` reads the trace log.",
        )
    with session:
        identifier = find_correlation(project.state, typed) if typed is not None else ""
        quote = "'" if '"' in identifier else '"'
        asked = f"{filter_text} correlation={quote}{identifier}{quote}" if identifier else filter_text
        facts = islice(_followed(session, asked), limit)
        if form in {"json", "lines"} or (form is None and not sys.stdout.isatty()):
            _write_facts(facts, form or "lines")
            return DONE
        return _show_live(facts)


def _followed(session: RemoteSession, asked: str) -> Iterator[Fact]:
    """Yield facts as the running microlith tells them; ends when it ends."""
    try:
        for reply in session.request({"verb": "follow", "filter": asked}):
            if "error" in reply:
                raise RefusedError(reply["error"], int(reply.get("exit", SAID_NO)))
            if "fact" in reply:
                yield reply["fact"]
    except ConnectionLostError:
        plain.err("the microlith has ended")


def _show_live(facts: Iterable[Fact]) -> int:
    tracer = LiveTracer(sys.stdout)
    try:
        for fact in facts:
            tracer.facts([fact])
    finally:
        tracer.close()
    return DONE


def _draw(tree: Tree, form: Format, limit: int | None) -> None:
    if form == "tree":
        show_tree(tree, sys.stdout, limit=limit or MOST_MESSAGES)
    else:
        for line in mermaid_lines(tree):
            plain.out(line)


def _write_facts(facts: Iterable[Fact], form: Format) -> int:
    """Write facts; returns how many."""
    if form == "lines":
        return show_lines(facts, sys.stdout)
    count = 0
    for fact in facts:
        plain.out_json(fact)
        count += 1
    return count


def _write_list(found: Iterable[tuple[str, Sequence[Fact]]], form: Format) -> int:
    """Write correlations, one line or one object each; returns how many."""
    if form == "tree":
        return show_correlations((build_tree(identifier, facts) for identifier, facts in found), sys.stdout)
    count = 0
    for identifier, facts in found:
        plain.out_json(_summary(build_tree(identifier, facts), facts))
        count += 1
    return count


def _summary(tree: Tree, facts: Sequence[Fact]) -> dict[str, Any]:
    """Describe a correlation as its first message, with what came of it in extensions."""
    first = next((fact for fact in facts if "bus" in fact), facts[0])
    told = {"outcome": tree.outcome, "messages": tree.messages, "failures": len(tree.failures)}
    return {**first, **told, "tookms": None if tree.took_ms is None else round(tree.took_ms)}
