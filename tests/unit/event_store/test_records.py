"""Events as they are written into rows and read back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microlith.context import correlated
from microlith.envelope import Envelope
from microlith.errors import UnknownTypeError, UnsafePayloadError
from microlith.event_store.records import (
    Decoding,
    StoredEvent,
    StoredType,
    StreamNameError,
    write_facts,
    write_stream,
)
from microlith.messages import Event
from microlith.serialization import MessageTypes

text = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
ids = text.filter(bool)


class Happened(Event):
    what: str = "something"


@given(
    stream=ids,
    position=st.integers(0, 2**62),
    message=ids,
    correlation=ids,
    cause=st.none() | ids,
    headers=st.dictionaries(text, text),
)
def test_head_comes_back_as_it_was(stream, position, message, correlation, cause, headers):
    envelope = Envelope(Happened(), message, correlation, cause, 1790000000.25, 3, headers)

    head = f"{write_stream(stream)}{position},{write_facts(envelope)}".encode()
    event = StoredEvent(7, StoredType(1, "a", "Happened", 1), head, b"{}", Decoding(MessageTypes()))

    assert (event.stream, event.stream_position, event.message_id) == (stream, position, message)
    assert (event.correlation_id, event.causation_id, event.time, event.depth) == (correlation, cause, 1790000000.25, 3)
    assert (event.headers or {}) == headers


def test_plain_and_odd_facts_are_written_alike():
    plain = correlated(Happened())
    odd = correlated(Happened(), headers={"a": "b"})

    written = [json.loads(f'["s",0,{write_facts(envelope)}') for envelope in (plain, odd)]

    assert [facts[2] for facts in written] == [plain.message_id, odd.message_id]
    assert [facts[7] for facts in written] == [None, {"a": "b"}]


@pytest.mark.parametrize("bad", ["a\0b", "\ud800"])
def test_text_that_no_column_holds_is_refused(bad):
    with pytest.raises(UnsafePayloadError):
        write_facts(Envelope(Happened(), bad, "c", None, 0.0))
    with pytest.raises(UnsafePayloadError):
        write_facts(Envelope(Happened(), "m", "c", None, 0.0, 0, {"tenant": bad}))
    with pytest.raises(StreamNameError):
        write_stream(bad)


def test_empty_stream_is_refused():
    with pytest.raises(StreamNameError):
        write_stream("")


def stored_event(types: MessageTypes) -> StoredEvent:
    stored = StoredType(1, "a", "Happened", 1)
    stored.resolve(types)
    return StoredEvent(41, stored, b'["a",0,"m","c",null,0,0,null]', b'{"what":"rain"}', Decoding(types))


def test_message_asked_for_twice_in_a_row_is_decoded_once():
    types = MessageTypes()
    types.add(Happened, "a")
    event = stored_event(types)

    assert event.message is event.message
    assert event.message == Happened(what="rain")


def test_message_of_a_type_that_is_gone_names_the_position():
    event = stored_event(MessageTypes())

    assert (event.type, event.component) == ("Happened", "a")
    with pytest.raises(UnknownTypeError, match="at position 41"):
        _ = event.message
