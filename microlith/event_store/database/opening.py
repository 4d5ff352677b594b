"""Opening a log, as far as every database does it in the same way.

Needs the ownership of the database.
"""

from time import time

from microlith.errors import CorruptionError
from microlith.event_store.database.codec import ChainCheck
from microlith.event_store.database.reading import LogReader
from microlith.event_store.database.session import Session
from microlith.event_store.database.statements import statements
from microlith.event_store.records import MICROSECONDS
from microlith.serialization import MessageTypes

_REMEMBERED_SECONDS = 7 * 24 * 3600
_PAGE = 500


def register(session: Session, types: MessageTypes) -> None:
    """Number the types that are new, and forget commands that were settled long ago. In a transaction."""
    for entry in types:
        if entry.kind in ("command", "event"):
            session.named("insert_type", entry.component, entry.name, entry.version)
    session.named("forget_commands", round((time() - _REMEMBERED_SECONDS) * MICROSECONDS))


def check_end(session: Session, reader: LogReader, head: int) -> bytes:
    """Check the events of the last commit, and that nobody has seen more than there is; return the last checksum.

    Raises:
        CorruptionError: The end of the log is damaged.
    """
    reading = statements(f"{session.dialect.name}_reading.sql")
    furthest = session.run(reading["select_furthest"])[0][0]
    if furthest > head:
        raise CorruptionError(f"position {head + 1}", f"the log ends before it, but position {furthest} was handled")
    before = session.run(reading["select_link_before"], (head,))
    chain = ChainCheck(*before[0]) if before else ChainCheck()
    while reader.check_chain(chain, _PAGE):
        pass
    return chain.checksum
