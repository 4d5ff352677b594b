"""Places in the project's code: where a module lies, and on which line a class stands.

Found by reading files, so a client of a running microlith can show them. A module that lies outside
the project has no place here.

Imports no code of the user's.
"""

import re
from pathlib import Path

_SOURCES = (".", "src")  # where packages lie: beside pyproject.toml, or in the folder many keep them in


def module_file(root: Path, module: str) -> Path | None:
    """Find the file of a module, such as "shop.auth.commands.login"; None when the project has none."""
    parts = module.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    for folder in _SOURCES:
        path = root.joinpath(folder, *parts)
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file
    return None


def class_line(file: Path, name: str) -> int:
    """Find the line, from 1, on which a class is defined; 0 when it is not found there."""
    try:
        text = file.read_text("utf-8", errors="replace")
    except OSError:
        return 0
    found = re.search(rf"^[ \t]*class[ \t]+{re.escape(name)}\b", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 0


def shown(file: Path, root: Path) -> str:
    """Show a file from the project's root, or whole when it lies elsewhere."""
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)
