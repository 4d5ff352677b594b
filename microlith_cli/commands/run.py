"""`microlith run`: supervise the application, reload it on save, show what happens.

Imports neither the user's code nor the runtime's heavy parts: those are the worker's.
"""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from microlith_cli.config import IN_PROCESS
from microlith_cli.console import plain
from microlith_cli.console.run_screens import JsonScreen, KeptScreen, LinesScreen
from microlith_cli.control.claiming import claim
from microlith_cli.control.client import runs_at
from microlith_cli.control.server import LOCK
from microlith_cli.errors import WRONG_USAGE, ConfigError, RunsElsewhereError, UsageError
from microlith_cli.keeper import Keeper, find_components
from microlith_cli.project import COMPONENT, STATE, Project, find_project, meant
from microlith_cli.sharing import folders_of
from microlith_cli.supervisor.interpreter import find_interpreter
from microlith_cli.supervisor.running import Run


def command(
    no_reload: Annotated[bool, typer.Option("--no-reload", help="Do not watch files; a save changes nothing.")] = False,
    component: Annotated[
        list[str] | None,
        typer.Option(
            "--component", metavar="NAME", help="Run this component only; again for several.", show_default=False
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Run each component in a process of its own, with one tracer over all.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Finish what is left to do, and end; 1 when a message fails.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each fact as a JSON object; end when nobody reads them.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show errors and what the application prints only.")] = False,
    kept: Annotated[bool, typer.Option("--kept", hidden=True)] = False,
) -> int:
    """Run the application; reload it when its files change.

    Keys, at a terminal: r reloads, f asks for a filter, d sends the last message again, p pauses, e shows payloads whole, q quits.
    """
    if component:
        os.environ[COMPONENT] = ",".join(component)  # for the worker, too
    project = find_project()
    project.app  # noqa: B018 (says now, rather than from the worker, that nothing can be run)
    python = find_interpreter(project.root)
    quiet = quiet or plain.settings.verbosity < 0
    _refuse_beside_others(project, every=every)
    if every:
        if once or component or meant():
            raise UsageError(
                f"--all and {'--once' if once else '--component' if component else COMPONENT} exclude each other."
            )
        return _run_all(project, python, reload=not no_reload, as_json=as_json, quiet=quiet)
    screen = KeptScreen() if kept else JsonScreen() if as_json else LinesScreen(quiet=quiet)

    project, lock = claim(project)

    async def live() -> tuple[int, bool]:
        run = Run(
            project,
            lock,
            python,
            screen,
            reload=not (no_reload or once),
            ends_unread=as_json,
            keyed=not (as_json or once or kept),
            once=once,
            kept=kept,
        )
        return await run.run(), run.stuck

    code, stuck = asyncio.run(live())
    if code == WRONG_USAGE:
        _forget(project.state)
    return _ended(code, stuck)


def _forget(place: Path) -> None:
    """Leave nothing of a process that had nothing to run: by its folder it would be listed among the others."""
    with suppress(OSError):  # where there is more, something has run here before
        if [path.name for path in place.iterdir()] == [LOCK]:
            (place / LOCK).unlink()
            place.rmdir()


def _refuse_beside_others(project: Project, *, every: bool) -> None:
    """Refuse to run a component here and in a process of all, too: each would take a part of what is for it, into two stores."""
    apart = every or bool(meant())
    if apart:
        places = {path.name: path for path in folders_of(project.root / STATE, whole=True).values()}
    else:
        places = {name: path for part in project.parts for name, path in project.places(part).items()}
    others = [name for name, place in places.items() if runs_at(place)]
    if others:
        raise RunsElsewhereError(None if apart else others)


def _run_all(project: Project, python: Path, *, reload: bool, as_json: bool, quiet: bool) -> int:
    if all(url == IN_PROCESS for url in project.config.buses.values()):
        raise ConfigError(
            "The buses are in memory, and do not reach from one process to another.",
            hint='Choose what carries them, such as event = "rabbitmq://..." under [tool.microlith.buses].',
        )
    components = find_components(project, python)
    screen = JsonScreen() if as_json else LinesScreen(quiet=quiet, processes=components)

    async def live() -> tuple[int, bool]:
        keeper = Keeper(project, components, screen, reload=reload, ends_unread=as_json)
        return await keeper.run(), keeper.stuck

    return _ended(*asyncio.run(live()))


def _ended(code: int, stuck: bool) -> int:
    if stuck:
        # A thread is inside a write that does not end; the interpreter would wait for it for ever.
        os._exit(code)
    return code
