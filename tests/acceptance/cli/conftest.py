from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.cli.shop import Tool, start_run, stop, write_shop


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    """The tool in a project where nothing runs."""
    return Tool(write_shop(tmp_path / "shop"))


@pytest.fixture(scope="module")
def attached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tool]:
    """The tool in a project that runs, at a path that is long and full of surprises."""
    folder = write_shop(tmp_path_factory.mktemp("run") / "mein Projekt, größer" / ("x" * 120))
    process = start_run(folder)
    yield Tool(folder)
    stop(process)


@pytest.fixture(params=["attached", "once"])
def either(request: pytest.FixtureRequest) -> Tool:
    """The tool in a project that runs, then in one that does not: both must behave alike."""
    found: Tool = request.getfixturevalue("attached" if request.param == "attached" else "tool")
    return found
