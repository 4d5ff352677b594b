"""`microlith new`: make an application, or add a part to one.

Each kind says which files it wants; one plan is made of them, shown and applied. Nothing is ever
overwritten.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from microlith_cli.console import plain
from microlith_cli.console.plan import print_outcome, print_plan, show_outcome, show_plan
from microlith_cli.errors import DONE, UsageError
from microlith_cli.project import find_project
from microlith_cli.scaffolding import kinds, stateful
from microlith_cli.scaffolding.applying import apply
from microlith_cli.scaffolding.manifest import read_manifest
from microlith_cli.scaffolding.naming import MessageKind
from microlith_cli.scaffolding.planning import Wanted, application_root, plan_addition, plan_undo
from microlith_cli.scaffolding.sources import Sources

KINDS = ("app", "component", "command", "event", "query", "handler", "projection", "aggregate", "process")

command = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

Name = Annotated[str | None, typer.Argument(metavar="NAME", help="Its name, such as shop.", show_default=False)]
Target = Annotated[
    str | None,
    typer.Argument(
        metavar="COMPONENT.NAME", help="Such as auth.ResetPassword or auth.reset_password.", show_default=False
    ),
]
Fields = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FIELD:TYPE[=DEFAULT]]...",
        help="Types: str int float bool datetime date uuid decimal secret email list[...]; a ? behind one allows none.",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and write nothing.")]
Diff = Annotated[bool, typer.Option("--diff", help="Show the content too, as differences.")]
Undo = Annotated[bool, typer.Option("--undo", help="Take back what this added, except what was changed by hand.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]


@dataclass(frozen=True, slots=True)
class How:
    """How a plan is carried out: the options that every kind takes."""

    dry_run: bool = False
    diff: bool = False
    undo: bool = False
    as_json: bool = False


@command.callback(invoke_without_command=True)
def new(context: typer.Context) -> None:
    """Make an application, or add a part to one."""
    if context.invoked_subcommand is None:
        kind = _ask(f"Make what? {', '.join(KINDS)}", "microlith new KIND NAME", default="app")
        if kind not in KINDS:
            raise UsageError(f"There is no kind {kind!r}.", hint=f"Choose one of {', '.join(KINDS)}.")
        fields = None
        name = _needed(None, kind)
        if kind in {"command", "event", "query", "projection", "aggregate", "process"}:
            fields = _ask("Fields, such as email:str count:int=1", "FIELD:TYPE", default="").split()
        _make(kind, name, How(), fields)


@command.command(short_help="Make an application, with an example component.")
def app(
    name: Name = None,
    bare: Annotated[bool, typer.Option("--bare", help="Leave the example component auth out.")] = False,
    dry_run: DryRun = False,
    diff: Diff = False,
    undo: Undo = False,
    as_json: Json = False,
) -> int:
    """Make an application in a new folder, with an example component."""
    return _make("app", name, How(dry_run, diff, undo, as_json), bare=bare)


@command.command(short_help="Add a component, with a folder for each kind of part.")
def component(
    name: Name = None, dry_run: DryRun = False, diff: Diff = False, undo: Undo = False, as_json: Json = False
) -> int:
    """Add a component: a boundary with messages, handlers and read models of its own."""
    return _make("component", name, How(dry_run, diff, undo, as_json))


@command.command("command")
def add_command(
    target: Target = None,
    fields: Fields = None,
    dry_run: DryRun = False,
    diff: Diff = False,
    undo: Undo = False,
    as_json: Json = False,
) -> int:
    """Add a command, with its handler and a test."""
    return _make("command", target, How(dry_run, diff, undo, as_json), fields)


@command.command()
def event(
    target: Target = None,
    fields: Fields = None,
    dry_run: DryRun = False,
    diff: Diff = False,
    undo: Undo = False,
    as_json: Json = False,
) -> int:
    """Add an event."""
    return _make("event", target, How(dry_run, diff, undo, as_json), fields)


@command.command()
def query(
    target: Target = None,
    fields: Fields = None,
    returns: Annotated[
        list[str] | None,
        typer.Option("--returns", metavar="FIELD:TYPE[=DEFAULT]", help="A field of the response; may be repeated."),
    ] = None,
    dry_run: DryRun = False,
    diff: Diff = False,
    undo: Undo = False,
    as_json: Json = False,
) -> int:
    """Add a query and its response, with the handler and a test."""
    return _make("query", target, How(dry_run, diff, undo, as_json), fields, returns)


@command.command(short_help="Add a handler for a message that is there, and a test.")
def handler(
    target: Target = None, dry_run: DryRun = False, diff: Diff = False, undo: Undo = False, as_json: Json = False
) -> int:
    """Add a handler for a message that is there, and a test; an event may be another component's."""
    return _make("handler", target, How(dry_run, diff, undo, as_json))


@command.command(short_help="Add a read model that is made of events.")
def projection(
    target: Target = None,
    fields: Fields = None,
    on: Annotated[
        list[str] | None, typer.Option("--on", metavar="EVENT", help="An event to take; may be repeated.")
    ] = None,
    dry_run: DryRun = False,
    diff: Diff = False,
    undo: Undo = False,
    as_json: Json = False,
) -> int:
    """Add a read model with these fields, the key first, kept up to date by events."""
    return _make("projection", target, How(dry_run, diff, undo, as_json), fields, on)


@command.command(short_help="Add an aggregate, with its first command and event, and a test.")
def aggregate(
    target: Target = None,
    fields: Fields = None,
    dry_run: DryRun = False,
    diff: Diff = False,
    undo: Undo = False,
    as_json: Json = False,
) -> int:
    """Add an aggregate with these fields as its state, its first command and event, and a test."""
    return _make("aggregate", target, How(dry_run, diff, undo, as_json), fields)


@command.command(short_help="Add a process manager, and a test.")
def process(
    target: Target = None,
    fields: Fields = None,
    on: Annotated[
        list[str] | None,
        typer.Option("--on", metavar="EVENT", help="An event to take; the first starts it. May be repeated."),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="FIELD", help="A field of its events that tells processes apart.")
    ] = None,
    dry_run: DryRun = False,
    diff: Diff = False,
    undo: Undo = False,
    as_json: Json = False,
) -> int:
    """Add a process manager with these fields as its state, and a test.

    Without --on, an event that starts it is added, too; without --key, the correlation id tells processes apart.
    """
    return _make("process", target, How(dry_run, diff, undo, as_json), fields, on, key=key)


def _make(
    kind: str,
    name: str | None,
    how: How,
    fields: list[str] | None = None,
    others: list[str] | None = None,
    *,
    bare: bool = False,
    key: str | None = None,
) -> int:
    """Plan one of the kinds and carry it out; `others` is what its own option took."""
    name = _needed(name, kind)
    step = kinds.step_name(kind, name)
    if kind == "app":
        return _carry_out(application_root(Path.cwd(), name), step, lambda: kinds.app(name, bare=bare), how)
    project = find_project()

    def wanted() -> Wanted:
        sources = Sources.of(project)
        match kind:
            case "component":
                return kinds.component(sources, name)
            case "handler":
                return kinds.handler(sources, name)
            case "projection":
                return kinds.projection(sources, name, fields or (), others or ())
            case "aggregate":
                return stateful.aggregate(sources, name, fields or ())
            case "process":
                return stateful.process(sources, name, fields or (), others or (), key)
            case _:
                return kinds.message(sources, _message_kind(kind), name, fields or (), others or ())

    return _carry_out(project.root, step, wanted, how)


def _carry_out(root: Path, step: str, wanted: Callable[[], Wanted], how: How) -> int:
    manifest = read_manifest(root)
    plan = plan_undo(root, step, manifest) if how.undo else plan_addition(root, wanted(), manifest)
    show, finish = (print_plan, print_outcome) if how.as_json else (show_plan, show_outcome)
    show(plan, diff=how.diff)
    plan.refuse_conflicts()
    if not how.dry_run:
        apply(plan)
    finish(plan, applied=not how.dry_run)
    return DONE


def _message_kind(kind: str) -> MessageKind:
    match kind:
        case "command" | "event" | "query":
            return kind
        case _:
            raise UsageError(f"There is no kind {kind!r}.")


def _needed(name: str | None, kind: str) -> str:
    if name is not None:
        return name
    form = "NAME" if kind in {"app", "component"} else "COMPONENT.NAME"
    return _ask(f"{form} of the {kind}", f"microlith new {kind} {form}")


def _ask(question: str, form: str, default: str | None = None) -> str:
    """Ask the person at the terminal. Raises UsageError where there is none."""
    if plain.settings.as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("Something is missing, and there is no terminal to ask on.", hint=f"Write `{form}`.")
    answer: str = typer.prompt(question, default=default, show_default=bool(default), err=True)
    return answer.strip()
