"""Which interpreter runs the user's code."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from microlith_cli.supervisor.interpreter import NoRuntimeError, find_interpreter


def make_environment(root: Path) -> Path:
    """Make the project's own environment, empty; returns its site-packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / ".venv"], check=True)
    (site,) = (root / ".venv").glob("lib/python3.*/site-packages")
    return site


def test_tool_runs_the_code_itself_where_the_project_has_no_environment(tmp_path):
    assert find_interpreter(tmp_path) == Path(sys.executable)


def test_project_environment_runs_the_code(tmp_path):
    site = make_environment(tmp_path)
    checkout = Path(__file__).parents[3]
    (site / "dependencies.pth").write_text(f"{checkout}\n{sysconfig.get_path('purelib')}\n")

    assert find_interpreter(tmp_path) == tmp_path / ".venv" / "bin" / "python"


def test_project_environment_without_microlith_is_refused_with_the_way_out(tmp_path):
    make_environment(tmp_path)

    with pytest.raises(NoRuntimeError) as caught:
        find_interpreter(tmp_path)

    assert str(tmp_path / ".venv") in str(caught.value)
    assert "pip install" in caught.value.hint
