"""What the supervisor's tests share: a worker that runs, and a way to ask it."""

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from microlith_cli.supervisor.worker import Worker
from tests.unit.runtime.shop import make_shop

Line = dict[str, Any]
Ask = Callable[..., Coroutine[Any, Any, list[Line]]]


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    """A worker that serves an application whose store is in memory."""
    worker = Worker(make_shop())
    await worker.start()
    yield worker
    await worker.stop(0)


@pytest.fixture
def ask(worker: Worker) -> Ask:
    """Ask the worker one request and return every line of the answer: `await ask("describe", type="X")`."""

    async def asked(verb: str, **arguments: Any) -> list[Line]:
        lines: list[Line] = []
        await worker.handle({"id": 7, "verb": verb, **arguments}, lines.append)
        return lines

    return asked
