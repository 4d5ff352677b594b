"""Adds a log to the corpus: `python -m tests.corpus.make`, once for each change of the stored format.

Refuses when there is a log of this format already. Commit the new folder; a log is never changed or taken out.
"""

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from microlith.event_store.sqlite import SQLiteEventStore
from tests.corpus.listing import listing
from tests.corpus.scenario import write_log
from tests.corpus.shapes import today
from tests.corpus.stored_format import LOGS, fingerprint


async def make() -> str:
    """Write a log, and what the code that wrote it reads in it."""
    with TemporaryDirectory() as scratch:
        folder = LOGS / f"format-{await fingerprint(Path(scratch))}"
    if folder.exists():
        return f"{folder.name} is there already"
    folder.mkdir(parents=True)
    await write_log(folder / "events.db")
    with TemporaryDirectory() as scratch:
        copy = Path(scratch) / "events.db"
        copy.write_bytes((folder / "events.db").read_bytes())
        wiring = today().wire()
        store = SQLiteEventStore(copy, wiring.types)
        await store.open(wiring.projections)
        lines = await listing(store)
        await store.close()
    (folder / "listing.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    for beside in folder.glob("events.db?*"):
        beside.unlink()
    return f"{folder.name}: {len(lines)} lines"


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(make()) + "\n")
