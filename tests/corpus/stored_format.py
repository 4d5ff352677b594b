"""The fingerprint of the stored format: of the tables and of the bytes in their rows.

Written anew each time by the code as it is, from messages whose ids and times are fixed.
"""

import re
import sqlite3
from contextlib import closing
from hashlib import blake2b
from pathlib import Path

from tests.corpus.scenario import write_log

LOGS = Path(__file__).with_name("logs")
ROWS = ("meta", "types", "events", "commands", "checkpoints", "finished", "attempts", "dead_letters")
"""Tables whose rows count, too. What is added to a store later counts by its table's definition."""


async def fingerprint(folder: Path) -> str:
    """Write a log and return the fingerprint of its format."""
    path = folder / "events.db"
    await write_log(path)
    digest = blake2b(digest_size=4)
    with closing(sqlite3.connect(path)) as connection:
        for kind, name, text in connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name"):
            definition = re.sub(r"\s+", " ", text or "")
            digest.update(f"{kind} {name} {definition}\n".encode())
        for table in ROWS:
            rows = connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2")
            names = [column[0] for column in rows.description]
            # When something was given up is the only thing that differs from run to run.
            kept = [at for at, name in enumerate(names) if (table, name) != ("dead_letters", "time")]
            for row in rows:
                digest.update(repr([row[at] for at in kept]).encode())
    return digest.hexdigest()
