"""The project that the pages speak of, made by the tool itself."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

TOOL = (sys.executable, "-m", "microlith_cli")


@pytest.fixture(scope="session")
def scaffolded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `microlith new app shop` makes. Tests read it and leave it as it is."""
    home = tmp_path_factory.mktemp("docs")
    ended = subprocess.run([*TOOL, "new", "app", "shop"], cwd=home, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return home / "shop"


@pytest.fixture
def importable(scaffolded: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project, importable as `shop` for one test; its events are kept in memory."""
    monkeypatch.syspath_prepend(scaffolded)
    monkeypatch.setenv("MICROLITH_STORE_URL", "memory:")
    yield scaffolded
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


@pytest.fixture
def outside() -> dict[str, str]:
    """An environment as in a quiet terminal, outside any project."""
    return quiet_terminal(os.environ)


def quiet_terminal(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment as in a terminal that is 80 columns wide and shows no colours; no setting of microlith's own."""
    kept = {name: value for name, value in environment.items() if not name.startswith("MICROLITH_")}
    return {**kept, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
