"""Parcels as messages of AMQP, read by the SDK of CloudEvents and by ourselves."""

import pytest
from aiormq import spec
from aiormq.abc import ChannelFrame
from cloudevents.core.bindings.rabbitmq import RabbitMQMessage, from_binary_event, to_binary_event
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st
from pamqp import frame
from pamqp.header import ContentHeader

from microlith.transports import Inbox, Parcel, Topic
from microlith.transports.rabbitmq.packing import pack, unpack

EVENT = Parcel(
    {
        "specversion": "1.0",
        "id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "source": "/shop/auth",
        "type": "UserLoggedInEvent",
        "time": "2024-02-29T12:00:00.123456Z",
        "datacontenttype": "application/json",
        "correlationid": "01890a5d-ac96-774b-bcce-b302099a8056",
        "partitionkey": "u-1",
    },
    b'{"user_id":"u-1"}',
    "u-1",
)
KINDS = {
    "command": ("shop.commands", "auth"),
    "query": ("shop.queries", "auth"),
    "event": ("shop.events", "auth.UserLoggedInEvent"),
}


def over_the_wire(properties: spec.Basic.Properties) -> spec.Basic.Properties:
    """What the properties of a message are once they were written and read."""
    payload = ChannelFrame.marshall(1, [ContentHeader(body_size=0, properties=properties)]).payload
    _, _, header = frame.unmarshal(payload)
    assert isinstance(header, ContentHeader)
    return header.properties


@pytest.mark.parametrize("kind", KINDS)
def test_address_says_where_a_parcel_goes(kind):
    packet = pack("shop", Topic(kind, "auth"), EVENT)

    assert (packet.exchange, packet.routing_key) == KINDS[kind]
    assert packet.kept == (kind == "command")
    assert packet.properties.delivery_mode == (1 if kind == "query" else 2)


def test_inbox_is_a_queue():
    packet = pack("shop", Inbox("auth-1"), EVENT)

    assert (packet.exchange, packet.routing_key, packet.kept) == ("", "shop.inbox.auth-1", False)


def test_the_sdk_reads_what_we_write():
    packet = pack("shop", Topic("event", "auth"), EVENT)
    properties = over_the_wire(packet.properties)

    headers = {name: str(value) for name, value in (properties.headers or {}).items()}

    read = from_binary_event(RabbitMQMessage(headers, properties.content_type, packet.data))

    assert (read.get_id(), read.get_type(), read.get_source()) == tuple(
        EVENT.attributes[name] for name in ("id", "type", "source")
    )
    assert read.get_extension("correlationid") == EVENT.attributes["correlationid"]
    assert read.get_data() == {"user_id": "u-1"}


def test_we_read_what_the_sdk_writes():
    written = to_binary_event(
        CloudEvent({"type": "Count", "source": "/x", "id": "1", "datacontenttype": "application/json"}, {"shelf": "A"})
    )

    properties = spec.Basic.Properties(content_type=written.content_type, headers={**written.headers})
    parcel = unpack(properties, written.body)

    assert {name: parcel.attributes[name] for name in ("type", "source", "id", "datacontenttype")} == {
        "type": "Count",
        "source": "/x",
        "id": "1",
        "datacontenttype": "application/json",
    }
    assert parcel.data == b'{"shelf": "A"}'


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20)


@given(st.dictionaries(names, texts, max_size=10), st.binary(max_size=60))
def test_whatever_is_written_is_read_as_it_was(attributes, data):
    sent = Parcel(attributes, data, attributes.get("partitionkey", ""))
    packet = pack("shop", Inbox("a"), sent)

    assert unpack(over_the_wire(packet.properties), packet.data) == sent


@pytest.mark.parametrize(
    "moment",
    ["", "yesterday", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59+00:00", "2024-02-29"],
)
def test_time_of_any_kind_is_carried(moment):
    packet = pack("shop", Inbox("a"), Parcel({"time": moment}, b""))

    assert unpack(over_the_wire(packet.properties), b"").attributes == {"time": moment}
