"""Commands that flow to processes which take them, each with a book of what it has done; and what the books have to say."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from microlith.transports import Address, Parcel, Topology, make_transport
from tests.crash.taker import HANDLING

ROOT = Path(__file__).parents[2]
KEYS = [f"shelf-{number}" for number in range(16)]


class Taker:
    """A process that takes, and its book.

    Args:
        module: What it runs.
        url: Where the broker is.
        app: The application.
        book: What it writes down what it does in.
        how: What it is told besides.
    """

    def __init__(self, module: str, url: str, app: str, book: Path, *how: str) -> None:
        self.book = book
        self.process = subprocess.Popen([sys.executable, "-m", module, url, app, str(book), *how], cwd=ROOT)

    def took(self) -> list[tuple[str, bool]]:
        """What it was handed, with whether it was told that it may have come before."""
        return [(name, again[0] == "True") for what, name, *again in self._lines() if what == "took"]

    def done(self) -> list[str]:
        """What it has done."""
        return [name for what, name, *_ in self._lines() if what == "done"]

    def has_done(self, number: int) -> bool:
        """Whether it has done so many."""
        return len(self.done()) >= number

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()

    def _lines(self) -> list[list[str]]:
        return [line.split() for line in self.book.read_text().splitlines()] if self.book.exists() else []


@asynccontextmanager
async def flowing(
    url: str, app: str, folder: Path, module: str = "tests.crash.taker"
) -> AsyncIterator[tuple[list[str], list[Taker], Callable[..., Taker]]]:
    """Have commands flow; give what is confirmed, who takes, and something that starts takers."""
    confirmed: list[str] = []
    takers: list[Taker] = []

    async def send() -> None:
        for number in range(10**9):
            batch: list[tuple[Address, Parcel]] = [(HANDLING.topic, parcel(key, number)) for key in KEYS]
            await sender.publish(batch)
            confirmed.extend(one.attributes["id"] for _, one in batch)
            await asyncio.sleep(0.1)

    def start(*how: str) -> Taker:
        takers.append(Taker(module, url, app, folder / f"book {len(takers)}", *how))
        return takers[-1]

    sender = make_transport(url)
    await sender.open(Topology(app, (HANDLING.topic,)))
    sending = asyncio.create_task(send())
    try:
        yield confirmed, takers, start
    finally:
        sending.cancel()
        await asyncio.wait([sending])
        for taker in takers:
            taker.end()
        await sender.close()


def parcel(key: str, number: int) -> Parcel:
    """Make one of the commands."""
    attributes = {"specversion": "1.0", "id": f"{key}/{number}", "source": "/crash", "type": "Count"}
    return Parcel({**attributes, "partitionkey": key}, b"{}", key)


def check(confirmed: list[str], takers: list[Taker]) -> int:
    """Assert that all that was confirmed by then is done, and what came twice said so; return how many were done again."""
    done = [name for taker in takers for name in taker.done()]
    lost = set(confirmed) - set(done)
    assert not lost, f"{len(lost)} of {len(confirmed)} confirmed parcels are lost: {sorted(lost)[:5]}"
    fresh = [name for taker in takers for name, again in taker.took() if not again]
    assert len(fresh) == len(set(fresh)), "something came again without a word"
    return len(done) - len(set(done))
