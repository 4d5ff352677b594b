from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from microlith_cli.control.server import ControlServer
from tests.unit.cli.control.channel import Desk, made


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest_asyncio.fixture
async def control(tmp_path: Path, desk: Desk) -> AsyncIterator[ControlServer]:
    started = made(tmp_path / ".microlith", desk)
    await started.start()
    yield started
    await started.stop()
