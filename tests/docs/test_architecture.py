"""The page about the architecture says what import-linter enforces, and names files that exist."""

import re

import pytest
import tomli

from tests.docs.pages import prose, table
from tests.meta.tree import ROOT

PAGE = ROOT / "docs" / "architecture.md"
NAME = re.compile(r"`([a-z_]+)`")


def enforced(package: str) -> list[set[str]]:
    """The layers of a package as import-linter knows them, without what is not there yet."""
    contracts = tomli.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract.get("containers") == [package])
    named = [set(re.findall(r"\w+", layer)) for layer in layers]
    there = {path.stem for path in (ROOT / package).iterdir() if path.suffix == ".py" or path.is_dir()}
    return [layer & there for layer in named if layer & there]


@pytest.mark.parametrize(("package", "heading"), [("microlith", "The runtime"), ("microlith_cli", "The tool")])
def test_layers_on_the_page_are_the_enforced_ones(package, heading):
    written = [set(NAME.findall(row[0])) for row in table(PAGE, heading)]

    assert written == enforced(package)


def test_files_that_the_page_names_exist():
    named = {path for line in prose(PAGE) for path in re.findall(r"`(microlith\w*/[\w/.]+)`", line)}

    assert named
    assert not [path for path in named if not (ROOT / path).exists()]
