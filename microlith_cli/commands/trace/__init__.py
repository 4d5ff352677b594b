"""`microlith trace`: what one message caused, the newest correlations, or everything as it happens.

Looks back in the trace log, so nothing needs to run; only `--follow` asks the running microlith.
Imports no code of the user's, and neither pydantic, typer nor rich: an answer takes less than they would.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from microlith.tracing.finding import TraceNotFoundError, find_correlation
from microlith.tracing.log import CURRENT, correlations, read_facts
from microlith_cli.causation import Fact, Tree, build_tree
from microlith_cli.commands.trace.sources import facts_of
from microlith_cli.commands.trace.verbs import VERBS, run_verb
from microlith_cli.console import plain
from microlith_cli.console.lines import show_lines
from microlith_cli.console.listing import show_correlations
from microlith_cli.console.live import LiveTracer
from microlith_cli.console.mermaid import mermaid_lines
from microlith_cli.console.tree import MOST_MESSAGES, show_tree
from microlith_cli.errors import (
    DONE,
    SAID_NO,
    ConnectionLostError,
    NothingRunsError,
    RefusedError,
    ToolError,
    UnknownNameError,
    UsageError,
)
from microlith_cli.filtering import compile_filter
from microlith_cli.options import Options, split
from microlith_cli.project import Project, find_project

if TYPE_CHECKING:
    from microlith_cli.session import LogSession

Format = Literal["tree", "lines", "json", "mermaid"]

VALUED = ("--filter", "--format", "--limit", "-n")
SWITCHES = ("--follow", "-f", "--json", "--help", "-h")
USAGE = """\
Usage: microlith trace [OPTIONS] [ID]
       microlith trace COMMAND ...

  Show what one message caused, or everything as it happens.

  ID is the beginning of an id or of a short id, of a correlation or of one of
  its messages; or @last, @-2 for the one before, @failed; or a file of
  `trace export`. Without it, the newest correlations are listed.

Commands:
  diff    Show how one trace differs from another.
  export  Write one trace as a file, without its values.
  import  Put such a file into this project's trace log.

Options:
  -f, --follow     Show what happens from now on.
  --filter FILTER  Show what fits, such as
                   'type:Login* status:failed took:>50ms since:5m'.
  --format FORM    tree, lines for searching, json, or mermaid for a diagram.
  -n, --limit N    Correlations in the list (20), messages in a tree (400), or
                   facts to follow (no end).
  --json           The same as --format json: CloudEvents, one a line.
  --help           Show this text.

Terms of a filter: type:Login* bus:event component:auth handler:auth.login
status:failed|ok|timeout|retried|ignored|cancelled|running|unhandled took:>50ms
queued:>50ms since:5m until:10:32 correlation:ID id:ID data.email=a@b.c, a word
of the type; -TERM or not:TERM must not hold. All terms must hold; quotes keep
spaces.
"""
_LISTED = 20
"""Correlations in the list, unless another number is asked for."""


class NothingPassesError(ToolError):
    """The trace log holds something, and none of it passes the filter."""

    def __init__(self, where: str, text: str) -> None:
        super().__init__(
            f"Nothing in {where} passes the filter {text!r}.", hint="`microlith trace` lists the newest correlations."
        )


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks for.

    Attributes:
        typed: What was typed for a correlation; None for none.
        form: How to show it; None: as fits best.
        limit: How many of what is shown; None: the usual number.
    """

    typed: str | None
    filter_text: str
    form: Format | None
    limit: int | None


def run(arguments: list[str]) -> int:
    """Show what one message caused, or everything as it happens."""
    if arguments and arguments[0] in VERBS:
        return run_verb(arguments[0], arguments[1:])
    given = split(arguments, valued=VALUED, switches=SWITCHES)
    if given.has("--help") or given.has("-h"):
        plain.out(USAGE.rstrip("\n"))
        return DONE
    wish = _wish(given)
    plain.settings.as_json = wish.form == "json"  # for errors
    passes = compile_filter(wish.filter_text)  # a mistake in it is told before anything is read
    if given.has("--follow") or given.has("-f"):
        return _follow(find_project(), wish)
    if wish.typed is not None:
        return _show(wish.typed, wish)
    return _list(find_project(), wish, passes)


def _wish(given: Options) -> Wish:
    for word in given.rest:
        if word.startswith("-"):
            known = [option for option in (*VALUED, *SWITCHES) if option.startswith("--")]
            raise UnknownNameError("option", word, known, see="microlith trace --help")
    if len(given.rest) > 1:
        raise UsageError(
            f"One correlation at a time, not {' and '.join(given.rest[:3])}.",
            hint="A filter goes after --filter, in quotes.",
        )
    form = given.one("--format")
    if form is not None and form not in get_args(Format):
        raise UsageError(f"--format takes {', '.join(get_args(Format))}, not {form!r}.")
    if given.has("--json"):
        form = "json"
    return Wish(
        given.rest[0] if given.rest else None, given.one("--filter") or "", cast("Format | None", form), _limit(given)
    )


def _limit(given: Options) -> int | None:
    text = given.one("--limit") or given.one("-n")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text) > 0):
        raise UsageError(f"--limit takes a whole number from 1 on, not {text!r}.")
    return int(text)


def _show(typed: str, wish: Wish) -> int:
    """Show one correlation."""
    identifier, facts = facts_of(typed)
    if wish.form in {"lines", "json"}:
        fitting = filter(compile_filter(wish.filter_text), facts)
        return DONE if _write_facts(islice(fitting, wish.limit), wish.form) else SAID_NO
    if wish.filter_text:
        raise UsageError(
            "A correlation is drawn whole; a filter would leave holes.",
            hint="Leave out the id to filter correlations, or add --format lines to filter facts.",
        )
    _draw(build_tree(identifier, facts), wish)
    return DONE


def _list(project: Project, wish: Wish, passes: Callable[[Fact], bool]) -> int:
    """List the newest correlations, or the newest facts."""
    if wish.form == "mermaid":
        raise UsageError("A diagram shows one correlation.", hint="Add its id: microlith trace @last --format mermaid")
    limit = wish.limit or _LISTED
    if wish.form == "lines":
        shown = _write_facts(_newest(project, passes if wish.filter_text else None, limit), wish.form)
    else:
        fitting = ((each, facts) for each, facts in correlations(project.traces) if any(map(passes, facts)))
        shown = _write_list(islice(fitting, limit), wish.form)
    if shown:
        return DONE
    if next(correlations(project.traces), None) is None:
        raise TraceNotFoundError("@last", project.traces, [])
    raise NothingPassesError(", ".join(str(one / CURRENT) for one in project.traces), wish.filter_text)


def _newest(project: Project, passes: Callable[[Fact], bool] | None, limit: int) -> Iterable[Fact]:
    """Read the newest facts, oldest first."""
    if passes is None:
        return list(islice(read_facts(project.traces, newest_first=True), limit))[::-1]
    # From the oldest on: a filter must have seen a message to judge its handling.
    return deque(filter(passes, read_facts(project.traces)), maxlen=limit)


def _follow(project: Project, wish: Wish) -> int:
    """Show facts as they come, until the user, the limit or the microlith ends it."""
    if wish.form == "mermaid":
        raise UsageError("A diagram shows what is over.", hint="Leave out --follow.")
    # Reading the log needs no session.
    from microlith_cli.session import connect, processes_of  # noqa: PLC0415

    session = connect(project)
    if session is None:
        raise NothingRunsError(
            f"No microlith of {project.name} is running, so there is nothing to follow.",
            hint="Start it with `microlith run`; without --follow, `microlith trace` reads the trace log.",
        )
    with session:
        asked = wish.filter_text
        if wish.typed is not None:
            identifier = find_correlation(project.traces, wish.typed)
            quote = "'" if '"' in identifier else '"'
            asked = f"{asked} correlation={quote}{identifier}{quote}"
        facts = islice(_followed(session, asked), wish.limit)
        if wish.form in {"json", "lines"} or (wish.form is None and not sys.stdout.isatty()):
            _write_facts(facts, wish.form)
        else:
            _show_live(facts, processes_of(session))
    return DONE


def _followed(session: "LogSession", asked: str) -> Iterator[Fact]:
    """Yield facts as the running microlith tells them; ends when it ends."""
    try:
        for reply in session.request({"verb": "follow", "filter": asked}):
            if "error" in reply:
                raise RefusedError(reply["error"], int(reply.get("exit", SAID_NO)))
            if "fact" in reply:
                yield reply["fact"]
    except ConnectionLostError:
        plain.err("the microlith has ended")


def _show_live(facts: Iterable[Fact], processes: Sequence[str]) -> None:
    tracer = LiveTracer(sys.stdout, processes=processes)
    try:
        for fact in facts:
            tracer.facts([fact])
    finally:
        tracer.close()


def _draw(tree: Tree, wish: Wish) -> None:
    if wish.form == "mermaid":
        for line in mermaid_lines(tree):
            plain.out(line)
    else:
        show_tree(tree, sys.stdout, limit=wish.limit or MOST_MESSAGES)


def _write_facts(facts: Iterable[Fact], form: Format | None) -> int:
    """Write facts, as JSON or as lines; returns how many."""
    if form != "json":
        return show_lines(facts, sys.stdout)
    count = 0
    for fact in facts:
        plain.out_json(fact)
        count += 1
    return count


def _write_list(found: Iterable[tuple[str, Sequence[Fact]]], form: Format | None) -> int:
    """Write correlations, one line or one object each; returns how many."""
    if form != "json":
        return show_correlations((build_tree(identifier, facts) for identifier, facts in found), sys.stdout)
    count = 0
    for identifier, facts in found:
        plain.out_json(_summary(build_tree(identifier, facts), facts))
        count += 1
    return count


def _summary(tree: Tree, facts: Sequence[Fact]) -> dict[str, Any]:
    """Describe a correlation as its first message, with what came of it in extensions."""
    messages = [fact for fact in facts if "bus" in fact]
    first = next((fact for fact in messages if "causationid" not in fact), (messages or facts)[0])
    told = {"outcome": tree.outcome, "messages": tree.messages, "failures": len(tree.failures)}
    return {**first, **told, "tookms": None if tree.took_ms is None else round(tree.took_ms)}
