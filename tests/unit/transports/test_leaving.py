"""Events on their way out: none is passed over, whatever becomes of the brokers, of their number, and of the store."""

import json

import pytest

from microlith.application.carriers import Carriers
from microlith.errors import CorruptionError, StoreUnavailableError, UnknownTypeError
from microlith.event_store.protocol import Settlement
from microlith.event_store.records import StoredEvent
from microlith.serialization import MessageTypes
from microlith.testing.memory_broker import MemoryBroker, MemoryTransport
from microlith.transports import ParcelRefusedError, Topic
from tests.eventually import eventually
from tests.unit.transports.agency import BookCommand, CancelCommand, CancelledEvent, PaidEvent, agency

FIRST, SECOND = "memory://shop:secret@first/", "memory://shop:secret@second/"
EVENTS = Topic("event", "booking")  # whose module they are in


class Brokers:
    """Two brokers where somebody keeps all events, and processes of an application on one file that send theirs there."""

    def __init__(self, root):
        self.at = {FIRST: MemoryBroker(), SECOND: MemoryBroker()}
        self._root = root
        self._kept = {url: broker.group("agency", EVENTS, "stranger") for url, broker in self.at.items()}

    def process(self, first=FIRST, **buses):
        app = agency("", store="sqlite:events.db", root=self._root, buses={"event": first, **buses})
        app.connects = lambda url: self.at[FIRST if "first" in url else SECOND].connect(url)
        return app

    def heard(self, url):
        """List what came to a broker, in order: type and trip. Each once, for it may come again after a restart."""
        parcels = [kept.parcel for kept in self._kept[url].waiting]
        return list(dict.fromkeys((one.attributes["type"], json.loads(one.data)["trip"]) for one in parcels))


@pytest.fixture
def brokers(tmp_path):
    return Brokers(tmp_path)


async def cancel(app, *trips):
    """Have something happen, and wait until it is in the log."""
    for trip in trips:
        await app.command_bus.execute(CancelCommand(trip=trip), until=CancelledEvent)
    await app.store.flush()


async def test_event_that_waits_for_its_broker_is_sent_after_another_broker_was_added(brokers):
    async with brokers.process() as app:
        await cancel(app, "rome")
        await app.idle()
        brokers.at[FIRST].go_away()
        await cancel(app, "oslo")
        await app.stop(drain=0.0)
    brokers.at[FIRST].come_back()

    async with brokers.process(**{"types.PaidEvent": SECOND}) as app:
        await eventually(lambda: len(brokers.heard(FIRST)) > 1)
        await app.command_bus.execute(BookCommand(trip="bern"), until=PaidEvent)
        await eventually(lambda: brokers.heard(SECOND))

    assert brokers.heard(FIRST)[:2] == [("CancelledEvent", "rome"), ("CancelledEvent", "oslo")]
    assert brokers.heard(SECOND) == [("PaidEvent", "bern")]


async def test_two_brokers_of_one_scheme_are_sent_to_apart(brokers):
    both = {"types.PaidEvent": SECOND}
    async with brokers.process(**both) as app:
        brokers.at[FIRST].go_away()
        await cancel(app, "oslo")
        await app.command_bus.execute(BookCommand(trip="bern"), until=PaidEvent)
        await eventually(lambda: brokers.heard(SECOND))
        await app.store.flush()
        await app.stop(drain=0.0)
    brokers.at[FIRST].come_back()

    async with brokers.process(**both):
        await eventually(lambda: brokers.heard(FIRST))

    assert brokers.heard(FIRST)[0] == ("CancelledEvent", "oslo")
    assert brokers.heard(SECOND) == [("PaidEvent", "bern")]


async def test_what_a_broker_that_is_given_up_had_not_taken_goes_to_the_one_in_its_place(brokers):
    async with brokers.process() as app:
        await cancel(app, "rome")
        await app.idle()
        brokers.at[FIRST].go_away()
        await cancel(app, "oslo")
        await app.stop(drain=0.0)

    async with brokers.process(SECOND) as app:
        await eventually(lambda: brokers.heard(SECOND))
        await app.idle()
    async with brokers.process(SECOND) as app:
        await cancel(app, "bern")
        await app.idle()

    assert brokers.heard(SECOND) == [("CancelledEvent", "oslo"), ("CancelledEvent", "bern")]


@pytest.mark.parametrize("old", ["outbox.events", "outbox.events_memory"])
async def test_store_of_an_older_version_is_carried_on_where_it_stands(brokers, old):
    async with brokers.process("memory:") as app:
        await cancel(app, "rome", "oslo")
        first, _ = await app.store.read_all()
        await app.store.checkpoint(old, start=-1)
        app.store.settle(Settlement(old, first.envelope, 0, 0))
        await app.store.flush()

    async with brokers.process() as app:
        await cancel(app, "bern")
        await app.idle()

    assert brokers.heard(FIRST) == [("CancelledEvent", "oslo"), ("CancelledEvent", "bern")]


async def test_first_broker_of_a_store_is_sent_what_happens_from_then_on(brokers):
    async with brokers.process("memory:") as app:
        await cancel(app, "rome")

    async with brokers.process() as app:
        await cancel(app, "oslo")
        await app.idle()

    assert brokers.heard(FIRST) == [("CancelledEvent", "oslo")]


async def test_event_that_the_broker_refuses_is_told_as_failed_and_the_others_leave(brokers, monkeypatch):
    publish = MemoryTransport.publish

    async def refusing(self, parcels):
        for index, (_, parcel) in enumerate(parcels):
            if b"oslo" in parcel.data:
                await publish(self, parcels[:index])
                raise ParcelRefusedError(index, "no room for oslo")
        await publish(self, parcels)

    monkeypatch.setattr(MemoryTransport, "publish", refusing)
    async with brokers.process() as app:
        follower = app.tracer.follow()
        for trip in ("rome", "oslo", "bern"):
            app.command_bus.dispatch(CancelCommand(trip=trip))
        await app.idle()
        app.tracer.flush()
        handled = [fact["data"] for fact in follower.take() if fact["type"] == "microlith.handled"]
        told = [fact for fact in handled if "outbox" in fact["handler"]]

    assert sorted(trip for _, trip in brokers.heard(FIRST)) == ["bern", "rome"]
    assert sorted(fact["outcome"] for fact in told) == ["failed", "ok", "ok"]
    (failed,) = [fact for fact in told if fact["outcome"] == "failed"]
    assert "no room for oslo" in failed["error"]["message"]
    assert "secret" not in str(told)


async def test_event_that_cannot_be_read_stays_and_those_behind_it_leave(brokers, monkeypatch):
    message = StoredEvent.message.__get__

    def unreadable(event: StoredEvent):
        if b"oslo" in event.data:
            raise UnknownTypeError("CancelledEvent", ())
        return message(event)

    async with brokers.process() as app:
        monkeypatch.setattr(StoredEvent, "message", property(unreadable))
        await cancel(app, "rome")
        app.command_bus.dispatch(CancelCommand(trip="oslo"))
        await app.idle()
        await cancel(app, "bern")
        await eventually(lambda: len(brokers.heard(FIRST)) == 2)

    assert brokers.heard(FIRST) == [("CancelledEvent", "rome"), ("CancelledEvent", "bern")]


@pytest.mark.parametrize("moment", ["read_all", "head"])
async def test_store_that_fails_for_a_while_stops_no_sending(brokers, monkeypatch, moment):
    async with brokers.process() as app:
        asked, real = [], getattr(app.store, moment)

        async def failing(*arguments, **options):
            asked.append(moment)
            if len(asked) < 4:
                raise StoreUnavailableError("its database is away")
            return await real(*arguments, **options)

        monkeypatch.setattr(app.store, moment, failing)
        await cancel(app, "rome")
        await eventually(lambda: brokers.heard(FIRST), 20)

    assert len(asked) >= 4
    assert brokers.heard(FIRST) == [("CancelledEvent", "rome")]


async def test_event_that_cannot_be_read_for_a_while_is_not_passed_over(brokers, monkeypatch):
    async with brokers.process() as app:
        post, tries = type(app.delivery.outboxes[0]._post), []
        real = post.parcel

        def parcel(self, *arguments):
            tries.append(arguments)
            if len(tries) < 3:
                raise StoreUnavailableError("the keys are away")
            return real(self, *arguments)

        monkeypatch.setattr(post, "parcel", parcel)
        await cancel(app, "rome")
        await eventually(lambda: brokers.heard(FIRST), 20)

    assert brokers.heard(FIRST) == [("CancelledEvent", "rome")]


async def test_damaged_log_ends_the_sending_and_says_so(brokers, monkeypatch, caplog):
    async def damaged(**_):
        raise CorruptionError("position 0", "it is damaged")

    async with brokers.process() as app:
        monkeypatch.setattr(app.store, "read_all", damaged)
        app.command_bus.dispatch(CancelCommand(trip="rome"))
        await eventually(lambda: "sends no more events" in caplog.text)
        await app.stop(drain=0.0)

    assert brokers.heard(FIRST) == []


def test_name_of_a_carrier_says_where_it_is_and_nothing_secret():
    urls = {
        "command": "rabbitmq://shop:s3cret@host/shop?heartbeat=5",
        "query": "rabbitmq://other:s3cret@host/shop",
        "event": "kafka://a:9092,b:9092?password=s3cret",
    }

    alone = Carriers({"event": urls["event"]}, MessageTypes()).names
    names = Carriers(urls, MessageTypes()).names

    assert names[urls["event"]] == alone[urls["event"]] == "kafka://a:9092,b:9092"
    assert len(set(names.values())) == 3
    assert "s3cret" not in str(list(names.values()))
