"""What a unit changes about schedules: a part of a batch, written at once in the batch's transaction.

So what a batch has changed is what its next unit finds. A batch that is rolled back takes it with it.

Begins and ends no transaction; reads nothing for others, see `schedules`.
"""

from collections.abc import Sequence

from microlith.event_store.database.codec import row_crc
from microlith.event_store.database.session import Session
from microlith.event_store.records import MICROSECONDS, StoredType, write_stream
from microlith.event_store.schedule import Cancelling, Scheduling

PreparedChange = Cancelling | tuple[Scheduling, StoredType, bytes, str]
"""A change made ready for writing: a message for later has its type, its payload and its head with it."""


def column_of(scope: str) -> str:
    """Make a scope fit for a column: a correlation id or a key from elsewhere may hold anything."""
    return scope.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def head_of(scheduling: Scheduling, facts: str) -> str:
    """Write the head of a schedule: name, moment, and the facts of its message.

    Raises:
        StreamNameError: The name is empty, holds a NUL or is not Unicode.
    """
    prefix = '["",' if scheduling.name is None else write_stream(scheduling.name)
    return f"{prefix}{round(scheduling.due * MICROSECONDS)},{facts}"


def is_gone(session: Session, message_id: str) -> bool:
    """Tell whether a schedule is no longer there."""
    return not session.named("select_schedule_sequence", message_id)


def take(session: Session, message_id: str) -> None:
    """Remove a schedule whose message is accepted by the same commit."""
    session.named("delete_schedule", message_id)


def change(session: Session, prepared: PreparedChange) -> Sequence[str]:
    """Add or remove a schedule; return its id if the message was scheduled before."""
    if isinstance(prepared, Cancelling):
        if prepared.message_id is not None:
            session.named("delete_schedule", prepared.message_id)
        elif prepared.name is None:
            session.named("delete_named_schedules", column_of(prepared.scope))
            session.named("delete_unnamed_schedules", column_of(prepared.scope))
        else:
            session.named("delete_named_schedule", column_of(prepared.scope), prepared.name)
        return ()
    scheduling, stored, data, head = prepared
    envelope = scheduling.envelope
    if not is_gone(session, envelope.message_id):
        return (envelope.message_id,)
    if scheduling.name is not None:
        session.named("delete_named_schedule", column_of(scheduling.scope), scheduling.name)
    sequence = int(session.named("select_last_schedule")[0][0]) + 1
    crc = row_crc(sequence, stored, head.encode(), data)
    session.named(
        "insert_schedule", sequence, stored.number, head, data, crc, int(scheduling.steady), column_of(scheduling.scope)
    )
    return ()
