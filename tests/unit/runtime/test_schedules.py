"""Schedules: sent when due, once, in order; cancelled and replaced with the handler's commit; over a restart too."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest

from microlith import (
    Cancelled,
    Component,
    EventBus,
    Microlith,
    Middleware,
    Scheduled,
    ScheduleError,
    correlated,
)
from microlith.errors import NoHandlerError, NotRunningError
from microlith.testing import VirtualClock, in_memory
from microlith.testing.virtual_clock import ClockError
from tests.eventually import eventually
from tests.unit.runtime.kitchen import (
    HALF_AN_HOUR,
    START,
    Brew,
    BrewedEvent,
    Drink,
    Kitchen,
    Remind,
    ReminderEvent,
    TimeRequest,
    make_app,
)


@pytest.fixture
def kitchen():
    return Kitchen()


@pytest.fixture
def clock():
    return VirtualClock(START)


@pytest.fixture
async def app(kitchen, clock):
    async with in_memory(make_app(kitchen), clock=clock) as app:
        yield app


async def test_scheduled_command_is_handled_when_it_is_due_and_not_before(app, kitchen, clock):
    receipt = await app.command_bus.dispatch(Remind(cup=1), after=HALF_AN_HOUR)

    await clock.advance(HALF_AN_HOUR - timedelta(seconds=1))
    early = list(kitchen.reminded)
    await clock.advance(1)

    assert (early, kitchen.reminded) == ([], [1])
    event = await app.event_bus.wait_for(receipt.correlation_id, ReminderEvent)
    assert event.cup == 1
    assert await app.schedules() == []


async def test_scheduled_event_is_in_the_log_when_it_is_due_under_its_id(app, clock):
    envelope = correlated(ReminderEvent(cup=2))
    await app.event_bus.dispatch(envelope, at=START + HALF_AN_HOUR)
    before = await app.store.read_all()

    await clock.advance(timedelta(days=1))

    (event,) = await app.store.read_all()
    assert before == []
    assert (event.message_id, event.correlation_id) == (envelope.message_id, envelope.correlation_id)
    assert event.time == pytest.approx((START + HALF_AN_HOUR).timestamp())


async def test_schedules_are_listed_with_what_they_are(app, clock):
    receipt = await app.command_bus.dispatch(Remind(cup=1), after=60)

    (schedule,) = await app.schedules()

    assert (schedule.message_id, schedule.type, schedule.component) == (receipt.message_id, "Remind", "kitchen")
    assert schedule.due_at == START + timedelta(minutes=1)


async def test_schedules_are_sent_in_the_order_in_which_they_are_due(app, kitchen, clock):
    for cup in (3, 1, 2):
        app.command_bus.dispatch(Remind(cup=cup), after=timedelta(minutes=cup))
    app.command_bus.dispatch(Remind(cup=0), at=START - timedelta(days=1))

    await clock.advance(timedelta(hours=1))

    assert kitchen.reminded == [0, 1, 2, 3]


async def test_cancelled_schedule_is_not_sent(app, kitchen, clock):
    receipt = await app.command_bus.dispatch(Remind(cup=1), after=60)

    assert await app.cancel_schedule(receipt.message_id)
    await clock.advance(timedelta(hours=1))

    assert kitchen.reminded == []
    assert not await app.cancel_schedule(receipt.message_id)


async def test_what_a_handler_schedules_belongs_to_its_correlation(app, kitchen, clock):
    kitchen.brewed = [Scheduled(Remind(cup=7), after=60)]
    brew = correlated(Brew())
    await app.command_bus.execute(brew, until=BrewedEvent)

    await clock.advance(60)

    await app.event_bus.wait_for(brew.correlation_id, ReminderEvent)
    brewed, reminder = await app.store.read_all()
    assert (brewed.correlation_id, reminder.correlation_id) == (brew.correlation_id, brew.correlation_id)


async def test_one_scheduled_message_may_be_all_that_a_handler_returns(app, kitchen, clock):
    kitchen.drunk = Scheduled(Remind(cup=7), after=60)
    await app.command_bus.dispatch(Drink())

    await clock.advance(60)

    assert kitchen.reminded == [7]


async def test_handler_that_fails_schedules_nothing(app, kitchen, clock):
    kitchen.fails, kitchen.brewed = True, [Scheduled(Remind(cup=7), after=60)]
    await app.command_bus.dispatch(Brew())
    await app.idle()

    assert await app.schedules() == []


async def test_cancelling_by_name_is_for_the_correlation_of_the_handler(app, kitchen, clock):
    kitchen.brewed = [Scheduled(Remind(cup=1), after=60, name="cold")]
    kitchen.drunk = [Cancelled("cold")]
    first, second = correlated(Brew(cup=1)), correlated(Brew(cup=2))
    for brew in (first, second):
        await app.command_bus.execute(brew, until=BrewedEvent)

    await app.command_bus.dispatch(_in_correlation(Drink(), first))
    await clock.advance(timedelta(hours=1))

    (reminder,) = [event for event in await app.store.read_all() if event.type == "ReminderEvent"]
    assert reminder.correlation_id == second.correlation_id


async def test_second_one_of_a_name_replaces_the_first(app, kitchen, clock):
    brew = correlated(Brew())
    kitchen.brewed = [Scheduled(Remind(cup=1), after=60, name="cold")]
    kitchen.drunk = [Scheduled(Remind(cup=2), after=120, name="cold")]
    await app.command_bus.execute(brew, until=BrewedEvent)
    await app.command_bus.dispatch(_in_correlation(Drink(), brew))

    await clock.advance(timedelta(hours=1))

    assert kitchen.reminded == [2]


async def test_cancelling_what_was_sent_or_never_was_changes_nothing(app, kitchen, clock):
    kitchen.drunk = [Cancelled("unheard"), Cancelled(message_id="m-1"), Remind(cup=3)]

    await app.command_bus.dispatch(Drink())
    await app.idle()

    assert kitchen.reminded == [3]


async def test_handler_cancels_by_message_id_in_its_commit(app, kitchen, clock):
    receipt = await app.command_bus.dispatch(Remind(cup=1), after=60)
    kitchen.drunk = Cancelled(message_id=receipt.message_id)

    await app.command_bus.dispatch(Drink())
    await app.idle()

    assert await app.schedules() == []


async def test_dispatch_within_a_handler_is_scheduled_with_its_commit(kitchen, clock):
    component = Component("bell")
    seen: list[int] = []

    @component.handles(Brew)
    async def brew(command: Brew, events: EventBus) -> ReminderEvent | None:
        held = events.dispatch(ReminderEvent(cup=1), after=60)
        seen.append(len(await running.schedules()))
        await events.dispatch(ReminderEvent(cup=2), after=30)
        seen.append(len(await running.schedules()))
        assert held.pending is False
        events.dispatch(ReminderEvent(cup=3), after=10)
        if command.cup == 2:
            raise ValueError("spilled")
        return None

    async with in_memory(Microlith("bell", [component]), clock=clock) as running:
        await running.command_bus.dispatch(Brew(cup=1))
        await running.idle()
        kept = [schedule.due_at for schedule in await running.schedules()]
        await running.command_bus.dispatch(Brew(cup=2))
        await running.idle()

        assert seen == [0, 2, 3, 5]
        assert kept == [START + timedelta(seconds=seconds) for seconds in (10, 30, 60)]
        assert len(await running.schedules()) == 5


async def test_idle_does_not_wait_for_what_is_due_later(app, kitchen):
    await app.command_bus.dispatch(Remind(cup=1), after=60)
    await app.command_bus.dispatch(Remind(cup=2), after=0)

    assert await app.idle(5)
    assert kitchen.reminded == [2]


async def test_thread_schedules(app, kitchen, clock):
    def send() -> None:
        app.command_bus.dispatch(Remind(cup=5), after=60).result(5)

    thread = threading.Thread(target=send)
    thread.start()
    await eventually(lambda: not thread.is_alive())
    await clock.advance(60)

    assert kitchen.reminded == [5]


@pytest.mark.parametrize(
    ("when", "says"),
    [
        ({"after": -1}, "not negative"),
        ({"after": float("nan")}, "`after` is a timedelta"),
        ({"after": True}, "`after` is a timedelta"),
        ({"after": 10**400}, "`after` is a timedelta"),
        ({"after": "5s"}, "'5s'"),
        ({"after": 1e300}, "no calendar"),
        ({"at": datetime(2030, 1, 1)}, "time zone"),  # noqa: DTZ001 (which is what is wrong with it)
        ({"at": 1.5}, "`at` is a datetime"),
        ({"at": START, "after": 5}, "both"),
    ],
)
async def test_moment_that_is_none_is_refused(app, when, says):
    with pytest.raises(ScheduleError, match=says):
        app.command_bus.dispatch(Remind(cup=1), **when)

    assert await app.schedules() == []


@pytest.mark.parametrize(
    "arguments", [{}, {"after": 1, "name": ""}, {"after": 1, "name": 5}, {"after": 1, "name": "\0"}]
)
def test_scheduled_without_moment_or_with_a_name_that_is_none_is_refused(arguments):
    with pytest.raises(ScheduleError):
        Scheduled(Remind(cup=1), **arguments)


@pytest.mark.parametrize("arguments", [((), {}), (("a",), {"message_id": "b"}), (("",), {})])
def test_cancelled_without_a_name_or_an_id_is_refused(arguments):
    with pytest.raises(ScheduleError):
        Cancelled(*arguments[0], **arguments[1])


async def test_query_is_refused(app, kitchen):
    with pytest.raises(ScheduleError, match="TimeRequest is a query"):
        app.query_bus.dispatch(TimeRequest(), after=1)

    kitchen.drunk = Scheduled(TimeRequest(), after=1)
    await app.command_bus.dispatch(Drink())
    await app.idle()
    (letter,) = await app.store.dead_letters()
    assert "TimeRequest is a query" in letter.error


async def test_command_that_nobody_handles_is_refused_when_it_is_asked_for(clock):
    component = Component("empty")
    component.handles(Brew)(lambda command: None)
    app = Microlith("empty", [component])
    app.types.add(Remind, "empty")

    async with in_memory(app, clock=clock):
        with pytest.raises(NoHandlerError, match="Remind"):
            app.command_bus.dispatch(Remind(cup=1), after=1)


async def test_stopped_application_schedules_nothing(kitchen):
    with pytest.raises(NotRunningError):
        make_app(kitchen).command_bus.dispatch(Remind(cup=1), after=1)


async def test_middleware_sees_a_scheduled_message_once(kitchen, clock):
    class Tag(Middleware):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def dispatching(self, envelope):
            self.seen.append(type(envelope.message).__name__)
            envelope.headers = {"tag": str(len(self.seen))}
            return envelope

    tag = Tag()
    kitchen.drunk = Scheduled(ReminderEvent(cup=2), after=60)
    async with in_memory(make_app(kitchen, middleware=[tag]), clock=clock) as app:
        await app.event_bus.dispatch(ReminderEvent(cup=1), after=60)
        await app.command_bus.dispatch(Drink())
        await clock.advance(60)

        assert tag.seen == ["ReminderEvent", "Drink", "ReminderEvent"]
        assert [event.headers for event in await app.store.read_all()] == [{"tag": "1"}, {"tag": "3"}]


async def test_what_goes_on_over_time_is_no_cascade(clock):
    component = Component("daily")
    rung: list[int] = []

    @component.handles(Remind)
    async def ring(command: Remind) -> Scheduled[Remind]:
        rung.append(command.cup)
        return Scheduled(Remind(cup=command.cup + 1), after=timedelta(days=1))

    async with in_memory(Microlith("daily", [component], max_depth=5), clock=clock) as app:
        await app.command_bus.dispatch(Remind(cup=1))
        await clock.advance(timedelta(days=20))

        assert rung == list(range(1, 22))


async def test_handler_asks_for_the_clock_of_the_application(app, clock):
    await clock.advance(HALF_AN_HOUR)

    assert (await app.query_bus.ask(TimeRequest())).at == START + HALF_AN_HOUR


async def test_what_is_told_of_a_schedule_says_when_it_is_due_and_by_what_it_was_caused(app, kitchen, clock):
    kitchen.brewed, kitchen.drunk = [Scheduled(Remind(cup=1), after=60, name="cold")], Cancelled("cold")
    brew = correlated(Brew())
    drink = _in_correlation(Drink(), brew)
    follower = app.tracer.follow()

    await app.command_bus.execute(brew, until=BrewedEvent)
    await app.command_bus.dispatch(drink)
    await app.idle()

    app.tracer.flush()
    facts = follower.take()
    (told,) = [fact for fact in facts if fact["type"] == "microlith.scheduled"]
    (undone,) = [fact for fact in facts if fact["type"] == "microlith.cancelled"]
    assert (told["correlationid"], told["causationid"]) == (brew.correlation_id, brew.message_id)
    assert told["data"]["due"] == "2030-01-01T12:01:00.000000Z"
    assert (told["data"]["message"], told["data"]["kind"], told["data"]["name"]) == ("Remind", "command", "cold")
    assert (undone["correlationid"], undone["causationid"]) == (brew.correlation_id, drink.message_id)
    (handled,) = [fact for fact in facts if fact.get("causationid") == brew.message_id and "outcome" in fact["data"]]
    assert told["data"]["messageid"] in handled["data"]["sent"]


async def test_many_schedules_need_one_task(app, kitchen, clock):
    before = len(asyncio.all_tasks())
    receipts = [app.command_bus.dispatch(Remind(cup=cup), after=1 + cup // 100) for cup in range(2_000)]
    await receipts[-1]

    assert len(asyncio.all_tasks()) == before
    await clock.advance(30)
    assert kitchen.reminded == list(range(2_000))


async def test_clock_is_not_turned_back(clock):
    with pytest.raises(ClockError, match="does not pass"):
        await clock.advance(-1)


def _in_correlation(message, envelope):
    own = correlated(message)
    own.correlation_id = envelope.correlation_id
    return own


def test_a_schedule_is_shown_with_a_time_that_can_be_read():
    note = Remind(cup=1)
    assert repr(Scheduled(note, after=timedelta(minutes=30), name="due")).endswith(", after=0:30:00, name='due')")
    assert repr(Scheduled(note, at=datetime(2030, 1, 2, tzinfo=UTC))).endswith(", at=2030-01-02 00:00:00+00:00)")
