"""`microlith export`: files that run the application elsewhere: Docker Compose, systemd, Kubernetes.

Asks for the components what runs, or imports the application; the rest is in its configuration.
"""

from pathlib import Path
from typing import Annotated

import typer

from microlith_cli.console import plain
from microlith_cli.errors import DONE, UnknownNameError
from microlith_cli.exporting import TARGETS, export, write
from microlith_cli.project import find_project
from microlith_cli.session import read_catalog


def command(
    target: Annotated[str, typer.Argument(metavar="compose|systemd|kubernetes", help="For what.", show_default=False)],
    to: Annotated[
        str | None, typer.Option("--to", metavar="DIR", help="Write files there, rather than print them.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> int:
    """Write the files that run the application elsewhere, as it is configured; secrets stay outside."""
    if target not in TARGETS:
        raise UnknownNameError("target", target, TARGETS, see="microlith export --help")
    project = find_project()
    catalog = read_catalog(project)
    files = export(target, catalog["app"], catalog["components"], project.config, to or "")
    if to is not None:
        write(files, project.root / to, force=force)
    for name, text in files.items():
        if as_json:
            plain.out_json({"item": "file", "name": name} | ({"text": text} if to is None else {"folder": to}))
        elif to is not None:
            plain.say(f"wrote {Path(to, name)}")
        else:
            plain.out(text.rstrip("\n") if len(files) == 1 else f"# --- {name}\n{text}")
    return DONE
