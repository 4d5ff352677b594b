"""What comes over a transport: once, whole, and settled after the commit."""

import asyncio
import json
from functools import partial

import pytest

from microlith import Retry, correlated
from microlith.delivery.arriving import PREFETCH
from microlith.testing.memory_broker import MemoryBroker
from microlith.transports import Parcel, Topic, Topology
from microlith.transports.cloud_events import Post
from tests.eventually import eventually
from tests.unit.transports.agency import (
    BookCommand,
    BookedEvent,
    CancelCommand,
    CancelledEvent,
    PaidEvent,
    PriceRequest,
    agency,
)

BOOKING = Topic("command", "booking.book")
EVENTS = Topic("event", "booking")  # whose module they are in


class Booking:
    """The process that books, and a stranger who sends to it over the same broker."""

    def __init__(self, app, broker):
        self.app = app
        self.broker = broker
        self.store = app.store
        self.handled = app.handled
        self.event_bus = app.event_bus
        self.stranger = broker.connect("")


@pytest.fixture(params=["memory:", "sqlite:events.db"])
async def booking(request, tmp_path):
    broker = MemoryBroker()
    async with agency(broker, "booking", store=request.param, root=tmp_path) as app:
        booking = Booking(app, broker)
        await booking.stranger.open(Topology("agency"))
        yield booking


def _reached(found, number):
    return len(found) == number


async def _nothing(*_):
    return None


def parcel(message_id, type_="BookCommand", **data):
    attributes = {"specversion": "1.0", "id": message_id, "source": "/elsewhere", "type": type_}
    return Parcel(attributes, json.dumps(data).encode())


def unsettled(broker):
    return sum(len(held) for transport in broker.transports for held in transport._unsettled.values())


async def test_command_of_a_stranger_needs_only_an_id_a_source_and_a_type(booking):
    await booking.stranger.publish([(BOOKING, parcel("one", trip="rome"))])

    booked = await booking.event_bus.wait_for("one", BookedEvent)

    assert booked == BookedEvent(trip="rome", price=100)
    assert booking.handled == ["book rome"]
    await eventually(lambda: not unsettled(booking.broker))


async def test_same_message_is_handled_once_however_often_it_comes(booking):
    await booking.stranger.publish([(BOOKING, parcel("one", trip="rome"))] * 3)
    await booking.event_bus.wait_for("one", BookedEvent)
    await booking.stranger.publish([(BOOKING, parcel("one", trip="rome")), (BOOKING, parcel("two", trip="oslo"))])
    await booking.event_bus.wait_for("two", BookedEvent)

    assert booking.handled == ["book rome", "book oslo"]
    assert [event.message.trip for event in await booking.store.read_all()] == ["rome", "oslo"]
    assert booking.broker.refused == []
    await eventually(lambda: not unsettled(booking.broker))


async def test_same_id_with_another_body_is_put_aside(booking):
    await booking.stranger.publish([(BOOKING, parcel("one", trip="rome"))])
    await booking.event_bus.wait_for("one", BookedEvent)

    await booking.stranger.publish([(BOOKING, parcel("one", trip="oslo"))])

    await eventually(lambda: booking.broker.refused)
    ((refused, reason),) = booking.broker.refused
    assert json.loads(refused.data) == {"trip": "oslo"}
    assert "another body" in reason
    assert booking.handled == ["book rome"]


async def test_event_is_recorded_once_and_another_of_its_id_is_put_aside(tmp_path):
    broker = MemoryBroker()
    stranger = broker.connect("")
    await stranger.open(Topology("agency"))
    async with agency(broker, "telling", store="sqlite:events.db", root=tmp_path) as telling:
        same, other = parcel("e1", "PaidEvent", trip="rome"), parcel("e1", "PaidEvent", trip="oslo")
        await stranger.publish([(EVENTS, same)])
        await eventually(lambda: telling.handled)
        await stranger.publish([(EVENTS, same), (EVENTS, other)])
        await eventually(lambda: broker.refused)

        assert telling.handled == ["tell rome"]
        assert [event.message_id for event in await telling.store.read_all()] == ["e1"]
        assert [parcel_.data for parcel_, _ in broker.refused] == [other.data]


@pytest.mark.parametrize(
    ("strange", "said"),
    [
        (parcel("x", trip=5), "trip"),
        (parcel("x", "NopeCommand"), "NopeCommand"),
        (parcel("x", "PaidEvent", trip="rome"), "is of type PaidEvent, which is no command"),
        (parcel("x", trip="rome")._replace(data=b"\xff{"), "UTF-8"),
        (parcel("x", trip="rome")._replace(data=b"[" * 100_000), "nested"),
        (parcel("x", trip="rome")._replace(data=b'{"trip": "a", "trip": "b"}'), "twice"),
        (parcel("", trip="rome"), "has no id"),
        (parcel("x" * 5000, trip="rome"), "5000 characters"),
        (Parcel({"type": "BookCommand", "id": "x", "depth": "-1", "source": "/a"}, b'{"trip": "a"}'), "depth"),
        (Parcel({"type": "BookCommand", "id": "x", "depth": "5000", "source": "/a"}, b'{"trip": "a"}'), "5000"),
        (Parcel({"type": "BookCommand", "id": "x", "time": "soon", "source": "/a"}, b'{"trip": "a"}'), "time"),
        (Parcel({"type": "BookCommand", "id": "x", "headers": "[]", "source": "/a"}, b'{"trip": "a"}'), "headers"),
        (Parcel({"type": "os.system", "id": "x", "source": "/a"}, b"{}"), "os.system"),
    ],
)
async def test_what_cannot_be_read_is_put_aside_and_holds_nothing_up(booking, strange, said):
    await booking.stranger.publish([(BOOKING, strange), (BOOKING, parcel("next", trip="rome"))])

    await booking.event_bus.wait_for("next", BookedEvent)

    ((refused, reason),) = booking.broker.refused
    assert refused == strange
    assert said in reason
    assert booking.handled == ["book rome"]


async def test_failed_command_is_a_dead_letter_here_and_settled_at_the_broker(booking):
    await booking.stranger.publish([(BOOKING, parcel("bad", trip="nowhere"))])

    await eventually(lambda: booking.handled)
    await eventually(lambda: not unsettled(booking.broker))

    (letter,) = await booking.store.dead_letters()
    assert (letter.message_id, letter.handler) == ("bad", "booking.book")
    assert (await booking.store.dead_message(letter)).message == BookCommand(trip="nowhere")


async def test_dead_letter_of_an_arrival_is_tried_again_by_its_handler(booking):
    await booking.stranger.publish([(BOOKING, parcel("bad", trip="nowhere"))])
    await eventually(lambda: not unsettled(booking.broker) and booking.handled)
    (letter,) = await booking.store.dead_letters()

    with pytest.raises(Exception, match="no such place"):
        await booking.app.retry_dead_letter(letter.sequence)

    assert booking.handled == ["book nowhere", "book nowhere"]
    assert len(await booking.store.dead_letters()) == 1


async def test_retries_of_an_arrival_keep_it_unsettled_until_the_last(tmp_path):
    broker = MemoryBroker()
    app = agency(broker, "booking")
    app.wire().handlers[0].retry = Retry(attempts=3, first=0.01)
    stranger = broker.connect("")
    await stranger.open(Topology("agency"))
    async with app:
        await stranger.publish([(BOOKING, parcel("bad", trip="nowhere"))])
        await eventually(lambda: len(app.handled) == 3)
        await eventually(lambda: not unsettled(broker))

        (letter,) = await app.store.dead_letters()
    assert letter.attempts == 3


async def test_unsettled_command_is_handled_by_the_next_process_and_its_tries_are_counted(tmp_path):
    broker = MemoryBroker()
    stranger = broker.connect("")
    await stranger.open(Topology("agency"))
    hangs = asyncio.Event()
    began = []

    def process():
        app = agency(broker, "booking", store="sqlite:events.db", root=tmp_path)

        async def hang(command: BookCommand) -> None:
            began.append(command.trip)
            await hangs.wait()

        app.wire().handlers[0].function = hang
        return app

    await stranger.publish([(BOOKING, parcel("one", trip="rome"))])
    for life in range(1, 4):
        app = process()
        await app.start()
        await eventually(partial(_reached, began, life))
        app.delivery.store.uncount = _nothing  # as if the process had died, and not been stopped
        await app.stop(drain=0.0)

    hangs.set()
    async with process() as last:
        await eventually(lambda: len(began) == 4)
        await last.idle()
        assert await last.store.arrived("one") not in (None, 0)
    assert began == ["rome"] * 4


async def test_slow_handler_holds_up_no_other(tmp_path):
    broker = MemoryBroker()
    app = agency(broker, "booking")
    begins, ends = asyncio.Event(), asyncio.Event()

    async def slow(command: BookCommand) -> None:
        begins.set()
        await ends.wait()

    app.wire().handlers[0].function = slow
    async with app:
        for number in range(2 * PREFETCH):
            await app.command_bus.dispatch(BookCommand(trip=f"t{number}"))
        await begins.wait()

        cancelled = await app.command_bus.execute(CancelCommand(trip="rome"), until=CancelledEvent, timeout=5)

        assert cancelled.trip == "rome"
        assert unsettled(broker) == PREFETCH
        ends.set()


async def test_query_that_comes_is_answered_to_the_inbox_that_it_names(booking):
    broker = booking.broker
    asker = agency(broker, "paying")
    async with asker:
        answers = await asyncio.gather(*(asker.query_bus.ask(PriceRequest(trip="x" * n)) for n in range(1, 20)))

    assert [answer.price for answer in answers] == list(range(1, 20))


async def test_waiting_for_an_event_that_is_recorded_here_means_that_it_can_be_read_here(tmp_path):
    broker = MemoryBroker()
    async with agency(broker, "booking"), agency(broker, "paying"), agency(broker, "telling") as telling:
        for number in range(30):
            await telling.command_bus.execute(BookCommand(trip=f"t{number}"), until=PaidEvent)
            assert telling.store.reached("telling.paid").checkpoint == number


async def test_command_in_its_envelope_comes_out_as_it_went_in():
    types = agency(MemoryBroker()).types
    post = Post(types, "agency", "booking", "inbox-1")
    envelope = correlated(BookCommand(trip="Übersee"), headers={"traceparent": "00-a-b-01", "X-Tenant": "é"})

    there = post.parcel(envelope, "key-1")
    back = Post(types, "agency", "paying", "inbox-2").message(there, ("command",))

    assert there.key == there.attributes["partitionkey"] == "key-1"
    assert there.attributes["traceparent"] == "00-a-b-01"
    assert back.message == envelope.message
    assert (back.message_id, back.correlation_id) == (envelope.message_id, envelope.correlation_id)
    assert abs(back.time - envelope.time) < 1e-5
    assert dict(back.headers or {}) == {
        "traceparent": "00-a-b-01",
        "X-Tenant": "é",
        "microlith-reply-to": "inbox-1",
        "microlith-origin": "booking",
    }


async def test_commands_have_a_group_for_each_handler():
    broker = MemoryBroker()
    async with agency(broker, "booking", "paying"):
        groups = {(topic, group) for _, topic, group in broker.groups}

    assert groups >= {(BOOKING, "booking.book"), (Topic("command", "paying.pay"), "paying.pay")}
