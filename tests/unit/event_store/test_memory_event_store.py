"""What only the store in memory does."""

import pytest

from microlith.context import correlated
from microlith.event_store import memory
from microlith.event_store.memory import MemoryEventStore
from microlith.event_store.protocol import Acceptance, Settlement
from microlith.messages import Command, Event
from microlith.serialization import MessageTypes


class Ask(Command):
    number: int = 1


class Happened(Event):
    number: int = 1


@pytest.fixture
def store():
    types = MessageTypes()
    types.add(Ask, "a")
    types.add(Happened, "a")
    return MemoryEventStore(types)


def never(*_):
    raise AssertionError("nobody is told of a command that is recorded at once")


def test_command_is_recorded_at_once(store):
    command = correlated(Ask())

    assert store.record(command, never) is Acceptance.RECORDED
    assert store.record(command, never) is Acceptance.DUPLICATE


def test_event_is_told_before_record_returns(store):
    told = []

    acceptance = store.record(correlated(Happened()), lambda committed, _: told.append(committed.events[0].position))

    assert (acceptance, told) == (Acceptance.UNDER_WAY, [0])


async def test_nothing_is_encoded_before_somebody_asks(store, monkeypatch):
    encoded = []
    encode = store._types.encode

    def encode_and_note(message, message_id):
        encoded.append(message)
        return encode(message, message_id)

    monkeypatch.setattr(store._types, "encode", encode_and_note)
    store.record(correlated(Ask()), never)
    store.record(correlated(Happened()), lambda *_: None)
    (event,) = await store.read_all()

    assert encoded == []
    assert (event.data, event.data) == (b'{"number":1}', b'{"number":1}')
    assert len(encoded) == 1


def test_settled_commands_are_remembered_up_to_a_bound(store, monkeypatch):
    monkeypatch.setattr(memory, "REMEMBERED", 3)
    commands = [correlated(Ask()) for _ in range(9)]
    for command in commands:
        store.record(command, never)
        store.settle(Settlement("a.ask", command))

    again = [store.record(command, never) for command in commands]

    assert again[-3:] == [Acceptance.DUPLICATE] * 3, "at least so many are remembered"
    assert again[:3] == [Acceptance.RECORDED] * 3, "and at most twice as many"
