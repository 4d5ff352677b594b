"""The interpreter that runs the user's code: the project's own, where it has one.

The tool may be installed elsewhere (pipx, uv tool); the application's dependencies are then in the
project's `.venv`.
"""

import subprocess
import sys
from pathlib import Path

from microlith_cli.errors import ToolError

_LOOK = "import importlib.util, sys; sys.exit(importlib.util.find_spec('microlith_cli') is None)"
_SECONDS = 20.0


class NoRuntimeError(ToolError):
    """The project has an environment of its own, and microlith is not installed there."""

    def __init__(self, python: Path) -> None:
        super().__init__(
            f"The project's own environment has no microlith ({python}).",
            hint=f"Install it there: '{python}' -m pip install microlith. Or remove that environment.",
        )


def find_interpreter(root: Path) -> Path:
    """Find the interpreter for a project's code.

    Raises:
        NoRuntimeError: The project has an environment without microlith.
    """
    own = root / ".venv"
    python = own / "bin" / "python"
    if not python.exists() or own.resolve() == Path(sys.prefix).resolve():
        return Path(sys.executable)
    looked = subprocess.run([python, "-c", _LOOK], capture_output=True, check=False, timeout=_SECONDS, cwd=root)
    if looked.returncode != 0:
        raise NoRuntimeError(python)
    return python
