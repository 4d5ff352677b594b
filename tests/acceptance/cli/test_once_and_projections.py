"""Without a running application, a question is answered from read models that have caught up with the log."""

import pytest

from tests.acceptance.cli.shop import Tool

MESSAGES = """


class FillCommand(Command):
    count: int


class FilledEvent(Event):
    number: int


class CountResponse(Response):
    rows: int


class CountRequest(Query[CountResponse]):
    pass
"""
PROJECTION = """
from microlith import ReadModel, Table
from shop.auth import auth
from shop.auth.commands.all import *


class Row(ReadModel, key="number"):
    number: int


rows = auth.projection("rows", Row, inline=False)


@rows.on(FilledEvent)
def filled(event: FilledEvent, table: Table[Row]) -> None:
    table.put(Row(number=event.number))
"""
HANDLERS = """

from microlith import View
from shop.auth.projections.all import Row


@auth.handles(FillCommand)
async def fill(command: FillCommand) -> list[FilledEvent]:
    return [FilledEvent(number=number) for number in range(command.count)]


@auth.handles(CountRequest)
async def count(query: CountRequest, rows: View[Row]) -> CountResponse:
    return CountResponse(rows=await rows.count())
"""


@pytest.fixture
def filling(tool: Tool) -> Tool:
    """A project with a projection that follows the log at its own pace."""
    folder = tool.folder / "shop" / "auth"
    (folder / "projections").mkdir()
    (folder / "projections" / "__init__.py").touch()
    (folder / "projections" / "all.py").write_text(PROJECTION, "utf-8")
    for name, text in (("commands", MESSAGES), ("handlers", HANDLERS)):
        path = folder / name / "all.py"
        path.write_text(path.read_text("utf-8") + text, "utf-8")
    return tool


def test_a_question_waits_for_projections_to_catch_up(filling):
    filled = filling("dispatch", "FillCommand", "--count", "3000", "--wait", "FilledEvent")
    exported = filling("events", "export", "log.jsonl", "--reveal")
    for path in (filling.folder / ".microlith").glob("events.db*"):
        path.unlink()
    imported = filling("events", "import", "log.jsonl")

    answers = [filling("dispatch", "CountRequest", "--json"), filling("dispatch", "CountRequest", "--json")]

    assert [one.code for one in (filled, exported, imported)] == [0, 0, 0]
    assert [one.lines[0]["data"]["rows"] for one in answers] == [3000, 3000]
