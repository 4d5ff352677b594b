"""The tools that judge the code, as tests, so that one command runs everything."""

import subprocess
import sys

import pytest

from tests.meta.tree import CODE, PACKAGES, ROOT

pytestmark = pytest.mark.timeout(300)

RUFF = (sys.executable, "-m", "ruff")
LINT_IMPORTS = (sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()")


def run(*command: str) -> None:
    """Run a tool at the root; its own output is the message when it refuses."""
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{' '.join(command[2:])}\n{ended.stdout}{ended.stderr}"


def test_ruff_finds_nothing():
    run(*RUFF, "check", "--quiet", "--output-format=concise")


def test_ruff_would_format_nothing():
    run(*RUFF, "format", "--check", "--quiet", "--diff")


def test_mypy_strict_finds_nothing():
    run(sys.executable, "-m", "mypy", *(name for name in CODE if any((ROOT / name).rglob("*.py"))))


def test_import_contracts_are_kept():
    run(*LINT_IMPORTS, "--no-logo", "--no-cache")


@pytest.mark.parametrize("package", PACKAGES)
def test_package_tells_type_checkers_that_it_is_typed(package):
    assert (ROOT / package / "py.typed").is_file()
