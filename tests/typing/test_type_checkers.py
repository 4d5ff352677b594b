"""What strict type checkers say: nothing about right code, and something about each wrong line."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.meta.tree import ROOT
from tests.typing.checkers import CHECKERS, lacking

pytestmark = pytest.mark.timeout(300)

HERE = Path(__file__).parent
RIGHT = HERE / "right.py"
WRONG = sorted((HERE / "wrong").glob("*.py"))
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/pyproject.toml"))
MARK = "# expect: error"


@pytest.fixture(params=CHECKERS)
def checker(request, unavailable):
    if reason := lacking(request.param):
        unavailable(reason)
    return CHECKERS[request.param]


def test_right_code_is_right(checker, tmp_path):
    assert checker([RIGHT], tmp_path) == {}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example_is_right(checker, tmp_path, example):
    files = sorted((example / example.name).rglob("*.py"))

    assert len(files) > 10
    assert checker(files, tmp_path, example) == {}


def test_each_wrong_line_is_told_and_no_other(checker, tmp_path):
    expected = {
        (path.name, number)
        for path in WRONG
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if MARK in line
    }

    found = checker(WRONG, tmp_path)

    assert len(expected) >= 40
    assert set(found) == expected, {place: found.get(place) for place in sorted(set(found) ^ expected)}


def test_scaffolded_project_is_right(checker, tmp_path):
    new = [sys.executable, "-m", "microlith_cli", "new", "app", "shop"]
    subprocess.run(new, cwd=tmp_path, check=True, capture_output=True)

    files = sorted((tmp_path / "shop" / "shop").rglob("*.py"))

    assert checker(files, tmp_path, tmp_path / "shop") == {}
