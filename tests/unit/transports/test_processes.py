"""Components in processes of their own: the same handlers and waits, over a broker."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from microlith import Component, HandlerFailedError, Microlith, NoHandlerError, WaitTimeout, correlated
from microlith.errors import MicrolithError, WiringError
from microlith.testing.memory_broker import MemoryBroker
from tests.eventually import eventually
from tests.unit.transports.agency import (
    BROKER,
    GATEWAY,
    BookCommand,
    BookedEvent,
    CancelledEvent,
    PaidEvent,
    PaymentRefusedEvent,
    PriceRequest,
    PriceResponse,
    agency,
)


class Processes:
    """Starts processes of the agency on one broker: `booking, paying = await processes("booking", "paying")`."""

    def __init__(self, stack):
        self.broker = MemoryBroker()
        self._stack = stack

    async def __call__(self, *components, **options):
        apps = [agency(self.broker, *([names] if names else ()), **options) for names in components]
        return [await self._stack.enter_async_context(app) for app in apps]


@pytest.fixture
async def processes():
    async with AsyncExitStack() as stack:
        yield Processes(stack)


async def test_command_is_handled_where_its_component_runs(processes):
    booking, paying = await processes("booking", "paying")

    event = await paying.command_bus.execute(BookCommand(trip="rome"), until=BookedEvent)

    assert event == BookedEvent(trip="rome", price=100)
    assert booking.handled == ["book rome"]
    assert "book rome" not in paying.handled


async def test_wait_finds_an_event_of_the_third_process(processes):
    booking, paying, telling = await processes("booking", "paying", "telling")

    paid = await telling.command_bus.execute(BookCommand(trip="rome"), until=(PaidEvent, PaymentRefusedEvent))
    await eventually(lambda: telling.handled)

    assert paid == PaidEvent(trip="rome")
    assert (booking.handled, paying.handled, telling.handled) == (["book rome"], ["pay rome"], ["tell rome"])


async def test_answer_that_came_before_the_wait_is_found(processes):
    _, _, telling = await processes("booking", "paying", "telling")
    envelope = correlated(BookCommand(trip="rome"))
    await telling.command_bus.dispatch(envelope)
    await telling.event_bus.wait_for(envelope.correlation_id, PaidEvent)

    booked = await telling.event_bus.wait_for(envelope.correlation_id, BookedEvent, timeout=0.1)
    paid = await telling.event_bus.wait_for(envelope.correlation_id, PaidEvent, timeout=0.1)

    assert (booked.trip, paid.trip) == ("rome", "rome")
    assert telling.waits == 0


async def test_query_is_answered_by_another_process(processes):
    _, paying = await processes("booking", "paying")

    answers = await asyncio.gather(*(paying.query_bus.ask(PriceRequest(trip="x" * n)) for n in range(1, 50)))

    assert answers == [PriceResponse(price=n) for n in range(1, 50)]


async def test_failure_elsewhere_ends_the_wait_at_once(processes):
    booking, paying = await processes("booking", "paying")

    with pytest.raises(HandlerFailedError, match="there is no such place") as failed:
        await paying.command_bus.execute(BookCommand(trip="nowhere"), until=BookedEvent, timeout=30)
    with pytest.raises(HandlerFailedError, match="there is no such place"):
        await paying.query_bus.ask(PriceRequest(trip="nowhere"), timeout=30)

    assert failed.value.handler == "booking.book"
    await booking.store.flush()  # whoever waits is told a little before
    (letter,) = await booking.store.dead_letters()
    assert letter.type == "BookCommand"


async def test_event_is_recorded_by_each_process_that_takes_it_and_folded_there(processes):
    _, _, telling = await processes("booking", "paying", "telling")

    await telling.command_bus.execute(BookCommand(trip="rome"), until=PaidEvent)
    await eventually(lambda: telling.handled)

    (event,) = await telling.store.read_all()
    assert (event.type, event.message) == ("PaidEvent", PaidEvent(trip="rome"))
    assert [row.name for row in await telling.projections()] == ["telling.paid"]
    assert telling.store.reached("telling.paid").checkpoint == 0


async def test_correlation_and_causation_are_kept_on_the_way(processes):
    booking, paying, telling = await processes("booking", "paying", "telling")
    envelope = correlated(BookCommand(trip="rome"))

    await telling.command_bus.execute(envelope, until=PaidEvent)
    await eventually(lambda: telling.handled)

    (booked,) = await booking.store.read_all()
    (paid,) = await paying.store.read_all()
    (taken,) = await telling.store.read_all()
    assert {booked.correlation_id, paid.correlation_id, taken.correlation_id} == {envelope.correlation_id}
    assert booked.causation_id == envelope.message_id
    assert taken.message_id == paid.message_id
    assert (booked.envelope.depth, paid.envelope.depth, taken.envelope.depth) == (1, 2, 2)


async def test_process_that_runs_everything_sends_to_itself_over_the_broker(processes):
    (agency_app,) = await processes("")

    paid = await agency_app.command_bus.execute(BookCommand(trip="rome"), until=PaidEvent)
    await agency_app.idle()

    assert paid.trip == "rome"
    assert agency_app.handled == ["book rome", "pay rome", "tell rome"]


async def test_gateway_sends_asks_and_waits_and_handles_nothing(processes):
    gateway, _, _ = await processes(GATEWAY, "booking", "paying")

    paid = await gateway.command_bus.execute(BookCommand(trip="rome"), until=PaidEvent)
    price = await gateway.query_bus.ask(PriceRequest(trip="rome"))

    assert (paid.trip, price.price) == ("rome", 4)
    assert gateway.handled == []
    assert await gateway.store.read_all() == []
    assert await gateway.projections() == []


def test_gateway_is_named_like_no_component():
    app = Microlith("shop", [Component("gateway")], runs=[])

    with pytest.raises(WiringError, match="'gateway'"):
        app.wire()


async def test_what_is_sent_while_nobody_is_there_waits_for_its_component(processes):
    (paying,) = await processes("paying")
    envelope = correlated(BookCommand(trip="rome"))
    await paying.command_bus.dispatch(envelope)
    waiting = asyncio.create_task(paying.event_bus.wait_for(envelope.correlation_id, BookedEvent))

    await processes("booking")

    assert (await waiting).trip == "rome"


async def test_broker_that_goes_away_delays_and_loses_nothing(processes):
    booking, paying, telling = await processes("booking", "paying", "telling")
    processes.broker.go_away()
    envelopes = [correlated(BookCommand(trip=f"t{n}")) for n in range(50)]
    for envelope in envelopes:
        await telling.command_bus.dispatch(envelope)

    processes.broker.come_back()
    paid = await asyncio.gather(
        *(telling.event_bus.wait_for(one.correlation_id, PaidEvent, timeout=10) for one in envelopes)
    )

    assert [one.trip for one in paid] == [f"t{n}" for n in range(50)]
    assert booking.handled == [f"book t{n}" for n in range(50)]
    assert sorted(paying.handled) == sorted(f"pay t{n}" for n in range(50))


async def test_timeout_of_a_wait_across_processes_says_what_is_missing(processes):
    (paying,) = await processes("paying")

    with pytest.raises(WaitTimeout) as expired:
        await paying.command_bus.execute(BookCommand(trip="rome"), until=BookedEvent, timeout=0.1)

    assert expired.value.report["missing"] == ["BookedEvent"]
    assert expired.value.report["could_emit"] == {"BookedEvent": ["booking.book"]}
    assert expired.value.report["elsewhere"] == ["booking"]
    assert expired.value.hint.endswith("which may not be running: `microlith run --component booking`.")
    assert paying.waits == 0


async def test_timeout_names_the_component_that_was_sent_something_and_is_not_heard_of(processes):
    booking, paying = await processes("booking", "paying")
    await paying.stop()
    envelope = correlated(BookCommand(trip="rome"))
    await booking.command_bus.execute(envelope, until=BookedEvent)
    await booking.idle()  # by now its PayCommand is on its way

    with pytest.raises(WaitTimeout) as expired:
        await booking.event_bus.wait_for(envelope.correlation_id, CancelledEvent, timeout=0.1)

    assert expired.value.report["could_emit"] == {"CancelledEvent": ["booking.cancel"]}
    assert expired.value.report["elsewhere"] == ["paying"]


async def test_timeout_names_no_component_that_did_its_part(processes):
    booking, _ = await processes("booking", "paying")
    envelope = correlated(BookCommand(trip="rome"))
    await booking.command_bus.execute(envelope, until=PaidEvent)

    with pytest.raises(WaitTimeout) as expired:
        await booking.event_bus.wait_for(envelope.correlation_id, CancelledEvent, timeout=0.1)

    assert "PaidEvent" in expired.value.report["arrived"]
    assert expired.value.report["elsewhere"] == []


async def test_timeout_names_no_component_that_returned_something_else(processes):
    booking, _ = await processes("booking", "paying")
    envelope = correlated(BookCommand(trip="rome"))
    await booking.command_bus.execute(envelope, until=PaidEvent)

    with pytest.raises(WaitTimeout) as expired:
        await booking.event_bus.wait_for(envelope.correlation_id, PaymentRefusedEvent, timeout=0.1)

    assert expired.value.report["could_emit"] == {"PaymentRefusedEvent": ["paying.pay"]}
    assert expired.value.report["elsewhere"] == []


async def test_timeout_says_since_when_the_broker_is_away_and_blames_no_component(processes):
    booking, paying = await processes("booking", "paying")
    processes.broker.go_away()

    with pytest.raises(WaitTimeout) as expired:
        await paying.command_bus.execute(BookCommand(trip="rome"), until=BookedEvent, timeout=0.1)
    processes.broker.come_back()
    with pytest.raises(WaitTimeout) as again:
        await paying.command_bus.execute(BookCommand(trip="rome"), until=CancelledEvent, timeout=0.1)

    (away,) = expired.value.report["away"]
    assert (away["broker"], away["why"]) == ("memory broker", "it was told to go away")
    assert f"memory broker has been away for {away['seconds']:.0f} s, since {away['since']}: " in str(expired.value)
    assert "microlith run" not in expired.value.hint
    assert again.value.report["away"] == []
    assert booking.waits == 0


async def test_timeout_names_a_message_once_that_came_back_over_the_broker(processes):
    (whole,) = await processes("")

    with pytest.raises(WaitTimeout) as expired:
        await whole.command_bus.execute(BookCommand(trip="rome"), until=PaymentRefusedEvent, timeout=0.5)

    assert sorted(expired.value.report["arrived"]) == ["BookCommand", "BookedEvent", "PaidEvent", "PayCommand"]


async def test_command_of_a_component_elsewhere_needs_a_broker(processes):
    (paying,) = await processes("paying", buses={"event": BROKER})

    with pytest.raises(NoHandlerError, match=r"booking\.book") as refused:
        paying.command_bus.dispatch(BookCommand(trip="rome"))

    assert "buses" in refused.value.hint


async def test_type_is_carried_by_its_own_url(processes):
    broker = processes.broker
    (whole,) = await processes("", buses={"command": BROKER, "types.PayCommand": "memory:"})

    await whole.command_bus.execute(BookCommand(trip="rome"), until=PaidEvent)

    assert {topic.component for _, topic, _ in broker.groups if topic.kind == "command"} == {
        "booking.book",
        "booking.cancel",
    }


@pytest.mark.parametrize(
    ("buses", "said"),
    [
        ({"comand": BROKER}, "There is no bus 'comand'"),
        ({"types.BokCommand": BROKER}, "BookCommand"),
    ],
)
async def test_configuration_that_names_what_is_not_there_is_refused(buses, said):
    app = agency(MemoryBroker(), buses=buses)

    with pytest.raises(MicrolithError) as refused:
        await app.start()

    assert said in f"{refused.value} {refused.value.hint}"
    assert app.delivery is None


async def test_component_that_is_not_there_cannot_be_run():
    app = agency(MemoryBroker(), "boking")

    with pytest.raises(MicrolithError, match="There is no component 'boking'") as refused:
        await app.start()

    assert "'booking'" in refused.value.hint


async def test_broker_that_is_away_at_start_stops_the_start():
    broker = MemoryBroker()
    broker.go_away()
    app = agency(broker)

    with pytest.raises(MicrolithError, match="cannot be reached"):
        await app.start()

    assert app.delivery is None
    broker.come_back()
    async with app:
        assert (await app.command_bus.execute(BookCommand(trip="rome"), until=PaidEvent)).trip == "rome"
