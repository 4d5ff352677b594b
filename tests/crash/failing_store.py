"""A store whose disk fails, step by step; what became of each write is told to standard output as JSON.

`faults.c` must be preloaded. The argument names the fault.
"""

import asyncio
import json
import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from microlith.errors import StoreError
from microlith.event_store.protocol import Settlement
from microlith.testing.event_store_contract.stock import StockProjection, StoreUnderTest
from tests.crash.store_load import HANDLER, stock_on

ROOM = 20_000


@contextmanager
def failing(what: str) -> Iterator[None]:
    """Let the disk fail in one way: "fail-sync" or "fail-write"."""
    trigger = Path(os.environ["FAULT_ROOT"]) / what
    trigger.touch()
    yield
    trigger.unlink()


@contextmanager
def small_files() -> Iterator[None]:
    """Let no file grow by more than a few pages."""
    longest = max(file.stat().st_size for file in Path(os.environ["FAULT_ROOT"]).iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (longest + ROOM, resource.RLIM_INFINITY))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


FAULTS: dict[str, Callable[[], Any]] = {
    "sync": lambda: failing("fail-sync"),
    "write": lambda: failing("fail-write"),
    "limit": small_files,
}


async def outcome(stock: StoreUnderTest, name: str) -> str:
    """Write one event; return "ok" or the name of the error."""
    try:
        await stock.store_items(name * 100)
    except StoreError as error:
        return type(error).__name__
    return "ok"


async def live(fault: str) -> dict[str, Any]:
    """Write before, during and after the fault, then close and open again."""
    path = Path(os.environ["FAULT_ROOT"]) / "events.db"
    stock = stock_on(path)
    await stock.store.open([StockProjection()])
    told: dict[str, Any] = {"before": [await outcome(stock, f"before{number}") for number in range(5)]}
    command = await stock.pending_command()
    with FAULTS[fault]():
        told["during"] = [await outcome(stock, f"during{number}") for number in range(20)]
        stock.store.settle(Settlement(HANDLER, command))
        told["read"] = len(await stock.whole_log())
        told["failure"] = type(stock.store.failure).__name__
    told["after"] = [await outcome(stock, f"after{number}") for number in range(5)]
    await stock.store.close()
    stock = stock_on(path)
    await stock.store.open([StockProjection()])
    told["found"] = [event.message.item.rstrip("0123456789")[:6] for event in await stock.whole_log()]  # type: ignore[attr-defined]
    told["verified"] = await stock.store.verify()
    told["folded"] = stock.folded()
    told["pending"] = len(await stock.store.pending_commands())
    await stock.store.close()
    return told


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(live(sys.argv[1]))))
