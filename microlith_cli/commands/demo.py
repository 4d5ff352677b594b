"""`microlith demo`: the whole way of a user, in a project of its own, in some seconds.

Scaffolds the example application, runs it, sends it messages, shows what they cause, and rebuilds
its read models from the events.
"""

import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from microlith_cli.console.demo_screens import DemoScreen, JsonDemoScreen
from microlith_cli.demo import (
    REBUILD_COMMAND,
    RUN_COMMAND,
    STEPS,
    TRACE_COMMAND,
    Outcome,
    check_dependencies,
    running,
)
from microlith_cli.errors import DONE, UsageError
from microlith_cli.scaffolding import kinds
from microlith_cli.scaffolding.applying import apply
from microlith_cli.scaffolding.manifest import Manifest
from microlith_cli.scaffolding.planning import application_root, plan_addition

NAME = "shop"
FOLLOWING = ("microlith new app shop", "cd shop", "microlith run")
IN_A_SECOND_TERMINAL = (
    "cd shop",
    "microlith dispatch RegisterCommand --email you@example.org --wait UserRegisteredEvent",
    "microlith new command auth.ResetPassword email:str",
)


def command(
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Make the project in this folder, and leave it there.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> int:
    """Try microlith in a folder of its own, in some seconds."""
    check_dependencies()
    screen = JsonDemoScreen() if as_json else DemoScreen()
    try:
        with _ended_in_good_order(), _folder(keep) as folder:
            _play(application_root(folder, NAME), screen)
            first = _to_find_the_tool()
            screen.end((*first, *FOLLOWING), (*first, *IN_A_SECOND_TERMINAL), str(folder / NAME) if keep else "")
    finally:
        screen.close()
    return DONE


def _play(root: Path, screen: DemoScreen) -> None:
    if root.exists():
        raise UsageError(f"{root} is there already.", hint="Keep the demo in another folder.")
    screen.step("Make an application", f"microlith new app {NAME}")
    plan = plan_addition(root, kinds.app(NAME, bare=False), Manifest())
    apply(plan)
    screen.said(f"{len(plan.changes)} files, with one component, auth, and its tests.")
    screen.step("Run it", RUN_COMMAND)
    with running(root) as run:
        screen.said(f"Process {run.pid} serves it; a {run.serving['durability']} store keeps its events.")
        for step in STEPS:
            screen.step(step.title, step.command)
            for told in run.perform(step):
                if isinstance(told, Outcome):
                    screen.outcome(told.matched, told.facts, told.exit, TRACE_COMMAND)
                else:
                    screen.fact(told)
        screen.step("Build the read models anew from the events", REBUILD_COMMAND)
        screen.rebuilt(run.rebuild())


def _to_find_the_tool() -> tuple[str, ...]:
    """What to type first where a shell does not find `microlith`: it was called by its path."""
    tool = Path(sys.argv[0]).absolute()
    if tool.name != "microlith" or shutil.which(tool.name):
        return ()
    return (f"export PATH={shlex.quote(str(tool.parent))}:$PATH",)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Where the project is made: a folder that goes away at the end, unless one is named."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="microlith-demo-") as made:
            yield Path(made)
    else:
        try:
            keep.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--keep {keep}: {error.strerror}.") from error
        yield keep.absolute()


@contextmanager
def _ended_in_good_order() -> Iterator[None]:
    """Let a request to end, too, stop the child process and remove the folder."""

    def end(number: int, _: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
