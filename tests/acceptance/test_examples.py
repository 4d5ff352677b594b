"""The examples: their own tests pass, their components keep apart, and they run under the tool."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.cli.shop import Tool
from tests.meta.tree import ROOT

EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/pyproject.toml"))
ISBN = "978-0321125217"


def test_there_are_examples():
    assert EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_tests_of_an_example_pass(example: Path):
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=example,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_components_of_an_example_keep_apart(example: Path):
    assert Tool(example)("check").code == 0


def test_an_order_takes_its_way_through_the_bookshop(tmp_path):
    """As the README of the example tells it, each command in a process of its own."""
    store = {"MICROLITH_STORE_URL": f"sqlite:{tmp_path}/events.db"}
    tool = Tool(ROOT / "examples" / "bookshop")

    def run(*arguments: str, code: int = 0) -> str:
        ended = tool(*arguments, env=store)
        assert ended.code == code, ended.err
        return ended.out + ended.err

    run("dispatch", "DeliverCopiesCommand", "--isbn", ISBN, "--copies", "3", "--wait", "CopiesDeliveredEvent")
    order = ("--order-id", "1", "--customer", "ada", "--isbn", ISBN, "--copies", "2", "--quiet-for", "10ms")
    run("dispatch", "PlaceOrderCommand", *order)
    assert "CancelOrderCommand" in run("schedules")
    run("dispatch", "PayOrderCommand", "--order-id", "1", "--cents", "10998", "--quiet-for", "10ms")

    assert "Nothing is scheduled." in run("schedules", code=1)
    assert "status  shipped" in run("dispatch", "OrderRequest", "--order-id", "1")
    assert "OrderShippedEvent" in run("events", "list")
    assert "rows changed" not in run("replay", "projection", "--all")
