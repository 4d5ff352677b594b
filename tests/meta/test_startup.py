"""What the tool must not import before it knows what is asked.

Each of these costs more than the rest of the answer together.
"""

import re
import subprocess
import sys

import pytest

from tests.meta.tree import PACKAGES, ROOT

HEAVY = {"asyncio", "jinja2", "pydantic", "pydantic_core", "rich", "sqlite3", "watchfiles"}
START = "import sys; sys.argv[0] = 'microlith'; from microlith_cli.__main__ import main; sys.exit(main())"
IMPORTED = re.compile(r"^import time: +\d+ \| +\d+ \| +([\w.]+)$", re.MULTILINE)


def imported_by(code: str, *arguments: str) -> set[str]:
    """The top-level names one run imports: told by the interpreter, so it holds however the run ends."""
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + IMPORTED.sub("", ended.stderr)
    return {name.partition(".")[0] for name in IMPORTED.findall(ended.stderr)}


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["_complete", "bash", "dis"], ["completion", "bash"]],
    ids=["help", "version", "complete", "completion"],
)
def test_tool_answers_without_a_heavy_import(arguments):
    imported = imported_by(START, *arguments)

    assert "microlith_cli" in imported
    assert sorted(imported & HEAVY) == []


def test_tree_is_drawn_without_a_heavy_import():
    imported = imported_by("import microlith_cli.console.growing, microlith_cli.console.tree, microlith_cli.causation")

    assert sorted(imported & HEAVY) == []


def test_an_import_in_a_run_is_seen():
    assert {"asyncio", "sqlite3"} <= imported_by("import asyncio.events\ndef f():\n    import sqlite3\nf()")


@pytest.mark.parametrize("package", PACKAGES)
def test_package_is_imported_without_output_or_threads(package):
    code = f"import {package}, threading, sys; sys.exit(threading.active_count() - 1)"

    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
