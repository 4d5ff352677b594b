"""Dead letters of an event store in a database: tried again, dropped, and their messages found again.

The row of a failed command stays whole until its dead letter is gone: it is the only copy of the envelope, and knows
the version of the payload. An event is in the log.

Makes no dead letters; see `batch` and `recovering`; `letter_plan` writes what became of a retry.
"""

from typing import Any

from microlith.envelope import Envelope
from microlith.errors import CorruptionError
from microlith.event_store.database.codec import StoredTypes, is_sound
from microlith.event_store.database.reading import LogReader, Readers
from microlith.event_store.database.writer import Writer
from microlith.event_store.dead_letter import DeadLetter
from microlith.event_store.records import Decoding, StoredEvent
from microlith.event_store.unit import arrival_mark
from microlith.serialization import MessageTypes


async def drop(writer: Writer, sequence: int) -> bool:
    """Remove a dead letter, and what is left of its command; tell whether there was one."""

    def work() -> bool:
        writer.session.named("forget_buried", "failed", sequence)
        return bool(writer.session.named("delete_dead_letter", sequence))

    return await writer.do(lambda: writer.transact(work))


def read(reader: LogReader, sequence: int) -> DeadLetter | None:
    """Read one dead letter."""
    page = reader.dead_letters(sequence - 1, 1)
    return page[0] if page and page[0].sequence == sequence else None


def message_of(
    letter: DeadLetter, reader: LogReader, readers: Readers, numbered: StoredTypes, types: MessageTypes
) -> Envelope[Any]:
    """Read the message of a dead letter in its envelope.

    Raises:
        CorruptionError: What is stored of it is damaged.
        UnknownTypeError: No component declares its type any more.
        PayloadError: It does not fit its class as it is now.
    """
    if letter.position is not None:
        return reader.all(letter.position - 1, 1)[0].envelope
    rows = readers.named("select_buried", letter.message_id, arrival_mark(letter.message_id))
    if not rows:  # its row was forgotten for its age
        return _without_row(letter, types)
    number, *row = rows[0]
    if not is_sound(number, tuple(row), numbered):
        raise CorruptionError(f"command {number}", "the stored bytes do not match their checksum")
    kind, head, data, _ = row
    return StoredEvent(number, numbered.by_number[kind], head, data, Decoding(types)).envelope


def _without_row(letter: DeadLetter, types: MessageTypes) -> Envelope[Any]:
    entry = types.current(letter.component, letter.type)
    version = 1 if entry is None else entry.version
    message = types.decode(
        letter.component,
        letter.type,
        version,
        letter.data,
        where=f"dead letter {letter.sequence}",
        message_id=letter.message_id,
    )
    return Envelope(message, letter.message_id, letter.correlation_id, None, letter.time, 0, None)
