"""Compiled files that may be stale.

Python takes a compiled file for current when the source has the same size and was saved in the same
second. Two quick saves can satisfy both, and then a reload would run the older code.

Touches nothing but `__pycache__` beside the files it is told of.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def forget_bytecode(files: Iterable[Path]) -> None:
    """Remove what Python, whichever version, compiled from these source files."""
    for file in files:
        if file.suffix == ".py":
            for compiled in file.parent.glob(f"__pycache__/{_literal(file.stem)}.*.pyc"):
                # A worker that is just starting may do the same.
                with suppress(OSError):
                    compiled.unlink()


def _literal(name: str) -> str:
    """Escape what a glob pattern would take for a wildcard."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)
