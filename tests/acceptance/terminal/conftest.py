"""A project that runs, and terminals of any size beside it."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.cli.shop import start_run, stop, write_shop
from tests.tmux import Tmux, plain_environment

MORE = '''
import asyncio
from datetime import date
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from microlith import Command, Event
from shop.auth import auth


class StepEvent(Event):
    left: int


class StepsDoneEvent(Event):
    pass


class StepsCommand(Command):
    """Take some steps, one after the other."""

    steps: int
    seconds: float = 0.1


class OrderCommand(Command):
    """Order something."""

    email: Annotated[str, Field(min_length=5, max_length=40, pattern="@", description="Who orders.")]
    unit: Literal["kg", "g"]
    count: Annotated[int, Field(ge=1, le=99)]
    code: Annotated[SecretStr, Field(min_length=4)]
    gift: bool
    tags: Annotated[list[str], Field(min_length=1)]
    note: str = "none"


class DueCommand(Command):
    day: date


class DueEvent(Event):
    day: date


class OrderedEvent(Event):
    email: str
    unit: str
    count: int
    code: str
    gift: bool
    tags: list[str]


@auth.handles(StepsCommand)
async def steps(command: StepsCommand) -> StepEvent:
    print("the handler prints", flush=True)
    await asyncio.sleep(command.seconds)
    return StepEvent(left=command.steps)


@auth.handles(StepEvent)
async def step(event: StepEvent) -> StepEvent | StepsDoneEvent:
    await asyncio.sleep(0.25)
    return StepEvent(left=event.left - 1) if event.left > 1 else StepsDoneEvent()


@auth.handles(DueCommand)
async def due(command: DueCommand) -> DueEvent:
    return DueEvent(day=command.day)


@auth.handles(OrderCommand)
async def order(command: OrderCommand) -> OrderedEvent:
    return OrderedEvent(**command.model_dump(exclude={"note", "code"}), code=command.code.get_secret_value())
'''

Open = Callable[..., Tmux]


@pytest.fixture(scope="session")
def tool_folder() -> str:
    """Where the `microlith` of this interpreter lies."""
    return str(Path(sys.executable).parent)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a project that runs."""
    folder = resting_shop(tmp_path_factory.mktemp("terminal") / "shop")
    process = start_run(folder)
    yield folder
    stop(process)


@pytest.fixture
def resting(tmp_path: Path) -> Path:
    """The folder of a project that does not run."""
    return resting_shop(tmp_path / "shop")


def resting_shop(folder: Path) -> Path:
    write_shop(folder)
    (folder / "shop/auth/handlers/more.py").write_text(MORE, "utf-8")
    return folder


@pytest.fixture
def terminal(require: Callable[[str], str], tool_folder: str) -> Iterator[Open]:
    """Opens terminals: `terminal(columns=80, rows=24, NAME=value...)`; they are closed after the test."""
    require("tmux")
    opened: list[Tmux] = []
    with tempfile.TemporaryDirectory(prefix="tmux") as home:

        def open_one(*, columns: int = 80, rows: int = 24, **variables: str) -> Tmux:
            folder = Path(home, str(len(opened)))
            folder.mkdir()
            environment = plain_environment() | variables
            environment["PATH"] = os.pathsep.join((tool_folder, environment.get("PATH", "")))
            opened.append(Tmux(folder, columns=columns, rows=rows, environment=environment))
            return opened[-1]

        yield open_one
        for each in opened:
            each.end()
