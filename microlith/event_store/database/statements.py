"""SQL by name, read from the `.sql` files beside this package.

A statement begins with `-- name: NAME` and ends where the next begins; comment lines are left out.

Fills in nothing but numbers of values and checked names of tables and columns.
"""

from functools import cache
from importlib.resources import files
from types import MappingProxyType

Statements = MappingProxyType[str, str]


@cache
def statements(file: str) -> Statements:
    """Return the statements of a file, by name."""
    text = (files("microlith.event_store") / "sql" / file).read_text("utf-8")
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("-- name: "):
            lines = found.setdefault(line.removeprefix("-- name: ").strip(), [])
        elif not line.startswith("--"):
            lines.append(line)
    return MappingProxyType({name: "\n".join(lines).strip() for name, lines in found.items()})
