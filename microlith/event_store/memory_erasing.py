"""Erasing in memory: what was kept as objects is sealed first, and read again when the keys are gone.

Everything happens within the call. Objects that handlers hold already are theirs.
"""

from collections.abc import Callable, Sequence
from typing import Any

from microlith.envelope import Envelope
from microlith.event_store.memory_dead_letters import MemoryDeadLetters
from microlith.event_store.memory_projections import MemoryProjections
from microlith.event_store.protocol import RecordedEvent
from microlith.event_store.records import AppendedEvent
from microlith.serialization import MessageTypes


def erase(
    destroy: Callable[[], None],
    types: MessageTypes,
    log: Sequence[RecordedEvent],
    pending: dict[str, Envelope[Any]],
    letters: MemoryDeadLetters,
    projections: MemoryProjections,
) -> list[str]:
    """Destroy keys and read everything anew that was sealed with them; return the projections that were built anew."""
    personal = [event for event in log if _is_personal(types, event.component, event.type)]
    sealed = {id(event): event.data for event in personal}
    commands = {
        message_id: types.encode(envelope.message, message_id)
        for message_id, envelope in pending.items()
        if types.of(type(envelope.message)).personal
    }
    destroy()
    for event in personal:
        if isinstance(event, AppendedEvent):
            event.read_again(sealed[id(event)])
    for message_id, data in commands.items():
        pending[message_id] = read_again(types, pending[message_id], data)
    letters.read_again()
    names = projections.taking(personal)
    for name in names:
        shadow = projections.shadow(name)
        shadow.apply(log)
        projections.switch(shadow)
    return names


def read_again(types: MessageTypes, envelope: Envelope[Any], data: bytes) -> Envelope[Any]:
    """Return an envelope with the message that its bytes mean now."""
    entry = types.of(type(envelope.message))
    message = types.decode(entry.component, entry.name, entry.version, data, message_id=envelope.message_id)
    return envelope.holding(message)


def _is_personal(types: MessageTypes, component: str, name: str) -> bool:
    entry = types.current(component, name)
    return entry is not None and bool(entry.personal)
