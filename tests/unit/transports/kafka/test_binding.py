import pytest
from confluent_kafka import Message

from microlith.transports.kafka.binding import Record, reason_of, to_parcel, to_record, to_refused
from microlith.transports.protocol import Parcel

PARCEL = Parcel(
    {
        "specversion": "1.0",
        "id": "a-1",
        "source": "/shop/stock",
        "type": "stock.Stored",
        "datacontenttype": "application/json",
        "subject": "schlüssel ✓",
    },
    b'{"a": 1}',
    "shelf-7",
)


def message(record: Record, *, offset: int = 3) -> Message:
    """What a consumer gets of a record."""
    return Message(
        topic=record.topic, partition=1, offset=offset, key=record.key, value=record.value, headers=record.headers
    )


def test_parcel_is_a_cloud_event_in_binary_mode():
    record = to_record("shop.events.stock", PARCEL)

    assert record == Record(
        "shop.events.stock",
        b"shelf-7",
        b'{"a": 1}',
        [
            ("ce_specversion", b"1.0"),
            ("ce_id", b"a-1"),
            ("ce_source", b"/shop/stock"),
            ("ce_type", b"stock.Stored"),
            ("content-type", b"application/json"),
            ("ce_subject", "schlüssel ✓".encode()),
        ],
    )


def test_parcel_arrives_as_it_was_sent():
    assert to_parcel(message(to_record("t", PARCEL))) == PARCEL


def test_parcel_without_a_key_has_a_record_without_one():
    assert to_record("t", PARCEL._replace(key="")).key is None
    assert to_parcel(message(to_record("t", PARCEL._replace(key="")))).key == ""


@pytest.mark.parametrize("key", ["shelf-7", ""])
def test_record_for_an_inbox_is_keyed_by_the_inbox_and_keeps_the_key_of_the_parcel(key):
    record = to_record("shop.inbox", PARCEL._replace(key=key), inbox="shop-1")

    assert record.key == b"shop-1"
    assert to_parcel(message(record), of_inbox=True) == PARCEL._replace(key=key)


@pytest.mark.parametrize("headers", [None, [], [("other", b"1")], [("ce_id", None)], [("content-type", None)]])
def test_record_of_a_stranger_becomes_a_parcel_that_says_little(headers):
    parcel = to_parcel(Message(value=None, key=None, headers=headers))

    assert parcel.data == b""
    assert not any(parcel.attributes.values())


def test_bytes_that_are_no_text_are_shown_escaped():
    parcel = to_parcel(Message(value=b"x", key=b"\xff", headers=[("ce_id", b"a\xfe")]))

    assert (parcel.key, parcel.attributes) == ("\\xff", {"id": "a\\xfe"})


def test_refused_record_is_kept_as_it_came_with_the_reason_and_where_it_lay():
    came = message(to_record("shop.events.stock", PARCEL))

    record = to_refused("shop.refused", came, "unreadable: \ud800 schlüssel")

    assert (record.topic, record.key, record.value) == ("shop.refused", came.key(), came.value())
    assert record.headers[:-2] == came.headers()
    assert record.headers[-1] == ("microlith_origin", b"shop.events.stock/1/3")
    assert reason_of(message(record)) == "unreadable: \\ud800 schlüssel"
    assert reason_of(came) == ""
