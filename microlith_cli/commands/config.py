"""`microlith config`: every setting of a project, its value, and where that came from.

A password in a url is shown as ***.

Reads pyproject.toml and the environment; imports nothing of the project and opens nothing a setting names.
"""

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from microlith.urls import masked
from microlith_cli.config import DEFAULTS, VARIABLES, Config
from microlith_cli.console import blocks, plain
from microlith_cli.errors import DONE
from microlith_cli.project import find_project


def command(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False) -> int:
    """Show every setting, its value, and where it came from."""
    rows = list(_rows(find_project().config))
    if as_json:
        for row in rows:
            plain.out_json(row)
    else:
        cells = [(row["setting"], _shown(row), row["origin"]) for row in rows]
        plain.out("\n".join(plain.escape(line) for line in blocks.columns(cells)))
    return DONE


def _rows(config: Config) -> Iterator[dict[str, Any]]:
    variables = {key: variable for variable, key in VARIABLES.items()}
    for key in (*variables, *sorted(key for key in config.settings if key not in variables)):
        value = config.get(key, DEFAULTS.get(key))
        yield {
            "setting": key,
            "value": masked(value) if isinstance(value, str) else value,
            "origin": config.origin(key),
            "variable": variables.get(key),
        }


def _shown(row: dict[str, Any]) -> str:
    value = row["value"]
    if value is None:
        return "as the application says" if row["setting"] == "store.url" else "not set"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.replace("\n", "\\n")
