"""`microlith run`: supervise the application, reload it on save, show what happens.

Imports neither the user's code nor the runtime's heavy parts: those are the worker's.
"""

import asyncio
import os
from typing import Annotated

import typer

from microlith_cli.console import plain
from microlith_cli.console.run_screens import JsonScreen, LinesScreen
from microlith_cli.project import COMPONENT, find_project
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
    once: Annotated[
        bool, typer.Option("--once", help="Finish what is left to do, and end; 1 when a message fails.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each fact as a JSON object; end when nobody reads them.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show errors and what the application prints only.")] = False,
) -> int:
    """Run the application; reload it when its files change.

    Keys, at a terminal: r reloads, f asks for a filter, d sends the last message again, p pauses, e shows payloads whole, q quits.
    """
    if component:
        os.environ[COMPONENT] = ",".join(component)  # for the worker, too
    project = find_project()
    project.app  # noqa: B018 (says now, rather than from the worker, that nothing can be run)
    python = find_interpreter(project.root)
    screen = JsonScreen() if as_json else LinesScreen(quiet=quiet or plain.settings.verbosity < 0)

    async def live() -> tuple[int, bool]:
        run = Run(
            project,
            python,
            screen,
            reload=not (no_reload or once),
            ends_unread=as_json,
            keyed=not (as_json or once),
            once=once,
        )
        return await run.run(), run.stuck

    code, stuck = asyncio.run(live())
    if stuck:
        # A thread is inside a write that does not end; the interpreter would wait for it for ever.
        os._exit(code)
    return code
