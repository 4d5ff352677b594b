"""The checkout as the gates see it: its root and the files that belong to it.

Reads names and text only; imports nothing of what it lists.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("microlith", "microlith_cli")
CODE = (*PACKAGES, "tests", "benchmarks", "docs")


def own_files() -> list[Path]:
    """All files that are, or are about to be, under version control; all files of an unpacked sdist."""
    if not (ROOT / ".git").exists():
        return sorted(path for path in ROOT.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return sorted(path for path in paths if path.is_file())


def python_files(*folders: str) -> Iterator[Path]:
    """The Python files below some top-level folders."""
    for path in own_files():
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders:
            yield path


def shown(path: Path) -> str:
    """A path the way a person names it: from the root, with slashes."""
    return path.relative_to(ROOT).as_posix()
