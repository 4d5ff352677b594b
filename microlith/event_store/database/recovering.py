"""What a starting application asks for: leftovers, checkpoints, and counts of attempts.

Each call is one small transaction on the writer's thread.

Handles no message.
"""

from collections.abc import Collection, Sequence
from functools import partial
from time import time
from typing import Any

from microlith.envelope import Envelope
from microlith.errors import PayloadError, UnknownTypeError
from microlith.event_store.database.batch import storable
from microlith.event_store.database.reading import LogReader, Look
from microlith.event_store.database.writer import Writer
from microlith.event_store.protocol import PendingCommand
from microlith.event_store.records import MICROSECONDS, StoredEvent
from microlith.event_store.unit import carried_on

NO_HANDLER = ""


async def pending_commands(
    writer: Writer, reader: LogReader, after: int, limit: int, look: Look
) -> list[PendingCommand]:
    """Read commands that are not settled.

    One that does not fit its class any more becomes a dead letter: it could never be handled, and would be in the
    way at every start.
    """
    while rows := await look(reader.pending, after, limit):
        found = []
        for sequence, attempts, stored in rows:
            try:
                found.append(PendingCommand(stored.envelope, sequence, attempts))
            except (UnknownTypeError, PayloadError) as error:
                await writer.do(partial(_bury, writer, error, sequence, attempts, stored))
        if found:
            return found
    return []


async def begin_again(writer: Writer, handler: str, envelope: Envelope[Any]) -> int:
    """Count durably that a message is tried again; return the count."""

    def count() -> int:
        if envelope.message.__kind__ == "command" and (
            counted := writer.session.named("attempt_command", envelope.message_id)
        ):
            return int(counted[0][0])
        # An event, or a command that came over a transport and is not recorded.
        return int(writer.session.named("attempt_event", handler, envelope.message_id)[0][0])

    def work() -> int:
        attempts = writer.transact(count)
        writer.state.tried.add((handler, envelope.message_id))
        return attempts

    return await writer.do(work)


async def uncount(writer: Writer, begun: Sequence[tuple[str, Envelope[Any]]]) -> None:
    """Take back one count of each, in one transaction."""

    def write() -> None:
        for handler, envelope in begun:
            if envelope.message.__kind__ == "command":
                writer.session.named("uncount_command", envelope.message_id)
            writer.session.named(
                "uncount_event", handler, envelope.message_id
            )  # a command that came over a transport, too

    await writer.do(lambda: writer.transact(write))


async def checkpoint(writer: Writer, handler: str, start: int) -> tuple[int, frozenset[int]]:
    """Return a handler's checkpoint and the finished positions above it; a new handler starts at `start`."""

    def work() -> tuple[int, frozenset[int]]:
        state = writer.state
        writer.settle_left_over()
        if handler not in state.checkpoints:
            writer.transact(lambda: writer.session.named("insert_checkpoint", handler, start))
            state.checkpoints[handler] = start
        return state.checkpoints[handler], frozenset(state.finished.get(handler, ()))

    return await writer.do(work)


async def carry_on(writer: Writer, group: str, names: Collection[str], start: int) -> dict[str, int]:
    """Have checkpoints of these names, and no others whose name begins with the group's; return them."""

    def work() -> dict[str, int]:
        state, session = writer.state, writer.session
        writer.settle_left_over()
        there = {name: at for name, at in state.checkpoints.items() if name.startswith(group)}
        kept = carried_on(there, names, start)

        def write() -> None:
            for name in there.keys() - kept.keys():
                session.named("delete_checkpoint", name)
            if kept:
                session.insert("upsert_checkpoints", [value for pair in kept.items() for value in pair], 2)

        if kept != there:
            writer.transact(write)
        for name in there.keys() - kept.keys():
            del state.checkpoints[name]
        state.checkpoints.update(kept)
        return kept

    return await writer.do(work)


def _bury(writer: Writer, error: Exception, sequence: int, attempts: int, stored: StoredEvent) -> None:
    def write() -> None:
        writer.session.named("settle_commands", "failed", f"[{sequence}]")
        values = (
            NO_HANDLER,
            None,
            stored.message_id,
            stored.correlation_id,
            stored.component,
            stored.type,
            stored.data,
            storable(f"{type(error).__name__}: {error}"),
            attempts,
            round(time() * MICROSECONDS),
            None,
        )
        writer.session.insert("insert_dead_letters", list(values), len(values))

    writer.transact(write)
    writer.state.pending.pop(stored.message_id, None)
