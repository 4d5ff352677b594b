"""Applications that share a PostgreSQL store: any of them handles a command, one hands the events over, and waits see all.

The broker is in memory and hands out messages of one key side by side, as RabbitMQ does where its command queues are shared.
"""

import asyncio
from contextlib import AsyncExitStack

import pytest

from microlith import HandlerFailedError, Microlith
from microlith.application.serving import UncarriedCommandError
from microlith.delivery import Delivery, arriving, sharing
from microlith.delivery.recovery import load_pending
from microlith.errors import StoreAwayError, StoreError
from microlith.event_store.postgres import claims
from microlith.event_store.sharing import LedElsewhereError
from microlith.testing import memory_broker
from microlith.testing.memory_broker import MemoryBroker
from tests.crash.depot import (
    BringCommand,
    BroughtEvent,
    CarelessQueue,
    CountRequest,
    CountResponse,
    Depot,
    LoadCommand,
    LoadedEvent,
    RangEvent,
    UnloadCommand,
    UnloadedEvent,
    WeighedEvent,
    depot,
)
from tests.eventually import eventually

pytestmark = [pytest.mark.postgres, pytest.mark.crash, pytest.mark.timeout(120)]

PATIENCE = 60.0


class Depots:
    """Starts processes that share one store, and a gateway that sends to them."""

    def __init__(self, store: str, stack: AsyncExitStack) -> None:
        self.broker = MemoryBroker()
        self.at_work: dict[str, str] = {}
        self._store = store
        self._stack = stack

    async def start(self, count: int) -> list[Depot]:
        apps = [depot(self.broker, self._store, self.at_work) for _ in range(count)]
        return [await self._stack.enter_async_context(app) for app in apps]

    async def gateway(self) -> Microlith:
        return await self._stack.enter_async_context(depot(self.broker, "", self.at_work, deaf=True))


@pytest.fixture
async def depots(postgres_schema, monkeypatch):
    monkeypatch.setattr(memory_broker, "_Queue", CarelessQueue)
    monkeypatch.setattr(arriving, "PREFETCH", 8)
    async with AsyncExitStack() as stack:
        yield Depots(f"{postgres_schema}&shared=yes", stack)


async def brought_by(apps: list[Depot], sender: Microlith, count: int, bays: int = 5) -> None:
    """Have items brought, and wait until each was brought and weighed."""
    for number in range(count):
        await sender.command_bus.dispatch(BringCommand(bay=f"bay{number % bays}", item=f"i{number}"))
    await eventually(lambda: sum(len(app.weighed) for app in apps) >= count, PATIENCE)


async def test_processes_share_the_commands_and_handle_a_key_one_at_a_time(depots):
    apps = await depots.start(3)
    gateway = await depots.gateway()
    await brought_by(apps, gateway, 150)
    answers = [await gateway.query_bus.ask(CountRequest(bay=f"bay{number}")) for number in range(5)]

    assert "both" not in depots.at_work
    assert sorted(item for app in apps for item in app.brought) == sorted(f"i{number}" for number in range(150))
    assert all(len(app.brought) > 15 for app in apps), "one did it all"
    assert answers == [CountResponse(items=30)] * 5


async def test_same_check_catches_processes_that_claim_nothing(depots, monkeypatch):
    async def take(*_: object) -> int:
        return 0

    monkeypatch.setattr(claims.Claims, "take", take)
    monkeypatch.setattr(claims.Claims, "let_go", lambda *_: None)

    with pytest.raises(AssertionError, match="both"):
        await test_processes_share_the_commands_and_handle_a_key_one_at_a_time(depots)


async def test_only_the_one_that_leads_hands_events_over_each_once_and_in_order(depots):
    leader, *others = await depots.start(3)
    await brought_by([leader, *others], others[0], 90, bays=3)
    await leader.idle(PATIENCE)
    log = [event.message.item for event in await leader.store.read_all(limit=1000, types=["BroughtEvent"])]
    weighed = await leader.store.read_all(limit=1000, types=["WeighedEvent"])

    assert [app.weighed for app in others] == [[], []]
    assert leader.weighed == log
    assert len(weighed) == 90


async def test_same_check_catches_a_leader_that_does_not_hear_of_the_others(depots, monkeypatch):
    monkeypatch.setattr(sharing.SharedStore, "wrote", lambda *_: None)
    monkeypatch.setitem(globals(), "PATIENCE", 3.0)

    with pytest.raises(AssertionError, match="did not happen"):
        await test_only_the_one_that_leads_hands_events_over_each_once_and_in_order(depots)


async def test_waits_in_any_process_see_what_any_other_does(depots):
    leader, member, third = await depots.start(3)
    gateway = await depots.gateway()
    for number, app in enumerate((leader, member, third, gateway) * 6):
        event = await app.command_bus.execute(BringCommand(bay="b", item=f"x{number}"), until=WeighedEvent)
        assert event == WeighedEvent(item=f"x{number}")
    rows = await third.query_bus.ask(CountRequest(bay="b"))
    await asyncio.gather(*(one.store.flush() for one in (leader, member, third)))

    assert rows == CountResponse(items=24)
    assert len(member.brought) + len(third.brought) + len(leader.brought) == 24


async def test_waits_end_with_the_failure_of_any_process(depots):
    leader, member, third = await depots.start(3)
    for number in range(6):
        with pytest.raises(HandlerFailedError, match="too heavy"):
            await member.command_bus.execute(BringCommand(bay="b", item=f"heavy{number}"), until=WeighedEvent)
        with pytest.raises(HandlerFailedError, match="fell"):
            await third.command_bus.execute(
                BringCommand(bay=f"f{number}", item=f"f{number}", fails=True), until=WeighedEvent
            )
    event = await third.event_bus.dispatch(BroughtEvent(bay="b", item="heavy by hand"))
    with pytest.raises(HandlerFailedError, match="too heavy"):
        await third.event_bus.wait_for(event.correlation_id, WeighedEvent, PATIENCE)
    assert leader.store.leads


async def test_what_stands_behind_a_dead_letter_is_parked_in_every_process(depots):
    leader, member, third = await depots.start(3)
    await member.command_bus.dispatch(BringCommand(bay="b", item="first", fails=True))
    await eventually(lambda: leader.delivery.failed or member.delivery.failed or third.delivery.failed, PATIENCE)
    for number in range(12):
        await third.command_bus.dispatch(BringCommand(bay="b", item=f"behind{number}"))
        await third.command_bus.dispatch(BringCommand(bay="c", item=f"beside{number}"))
    apps = (leader, member, third)
    await eventually(lambda: sum(len(app.brought) for app in apps) == 12, PATIENCE)
    letters = []
    while len(letters) < 13:
        letters = await leader.store.dead_letters()
    head = next(letter for letter in letters if letter.behind is None)
    await third.drop_dead_letter(head.sequence)
    await eventually(lambda: sum(len(app.brought) for app in apps) == 24, PATIENCE)

    assert sorted(item for app in apps for item in app.brought if item.startswith("beside")) == sorted(
        f"beside{number}" for number in range(12)
    )
    await leader.store.flush()
    await asyncio.gather(member.store.flush(), third.store.flush())
    assert await leader.store.dead_letters() == []


async def test_what_waits_in_the_same_process_is_parked_behind_a_dead_letter(depots):
    [app] = await depots.start(1)
    gateway = await depots.gateway()
    await gateway.command_bus.dispatch(BringCommand(bay="b", item="first", fails=True, seconds=0.2))
    for number in range(3):
        await gateway.command_bus.dispatch(BringCommand(bay="b", item=f"behind{number}"))
    await gateway.command_bus.execute(BringCommand(bay="c", item="beside"), until=WeighedEvent)
    await eventually(lambda: app.delivery.failed, PATIENCE)
    await app.idle(PATIENCE)

    assert app.brought == ["beside"]
    assert [letter.behind is None for letter in await app.store.dead_letters()] == [True, False, False, False]


async def test_dead_letters_of_handlers_of_events_are_for_the_one_that_leads(depots):
    leader, member = await depots.start(2)
    with pytest.raises(HandlerFailedError, match="too heavy"):
        await member.command_bus.execute(BringCommand(bay="b", item="heavy"), until=WeighedEvent)
    await leader.store.flush()
    [letter] = await leader.store.dead_letters()
    for touch in (member.drop_dead_letter, member.retry_dead_letter):
        with pytest.raises(LedElsewhereError, match="handler of events"):
            await touch(letter.sequence)
    await leader.drop_dead_letter(letter.sequence)


async def test_lead_is_taken_whole_though_the_database_is_away_for_a_moment(depots, monkeypatch):
    leader, member = await depots.start(2)
    gateway = await depots.gateway()
    failed = []

    async def fails_once(delivery: Delivery) -> int:
        if not failed:
            failed.append(True)
            raise StoreAwayError("postgresql://", "it is away for a moment")
        return await load_pending(delivery)

    monkeypatch.setattr("microlith.application.serving.load_pending", fails_once)
    await leader.stop()
    event = await gateway.command_bus.execute(BringCommand(bay="b", item="i"), until=WeighedEvent, timeout=PATIENCE)

    assert failed
    assert event == WeighedEvent(item="i")
    assert member.weighed == ["i"]


async def test_decisions_of_one_stream_never_lose_an_update(depots):
    apps = await depots.start(3)
    gateway = await depots.gateway()
    await asyncio.gather(
        *(
            gateway.command_bus.execute(LoadCommand(truck=f"t{number % 3}", item=f"l{number}"), until=LoadedEvent)
            for number in range(90)
        )
    )
    totals = [
        await gateway.command_bus.execute(UnloadCommand(truck=f"t{number}"), until=UnloadedEvent) for number in range(3)
    ]
    letters = await apps[0].store.dead_letters()

    assert [total.items for total in totals] == [30, 30, 30]
    assert letters == []


async def test_what_is_scheduled_in_any_process_is_sent_once(depots):
    apps = await depots.start(2)
    for app in apps:
        rang = await app.command_bus.execute(LoadCommand(truck="t", item="bell"), until=RangEvent, timeout=PATIENCE)
        assert rang == RangEvent(item="t")
    await apps[0].idle(PATIENCE)

    assert len(await apps[1].store.read_all(limit=100, types=["RangEvent"])) == 2
    assert await apps[0].schedules() == []


async def test_read_models_that_follow_can_be_waited_for_in_every_process(depots):
    leader, member = await depots.start(2)
    await member.command_bus.execute(BringCommand(bay="b", item="i"), until=WeighedEvent)
    await member.idle(PATIENCE)
    standings = {one.name: one.behind for one in await member.projections()}
    with pytest.raises(LedElsewhereError, match="leads"):
        await member.rebuild("goods.totals")
    await leader.rebuild("goods.totals")

    assert standings == {"goods.bays": 0, "goods.totals": 0}
    assert member.store.reached("goods.totals").checkpoint == 1


async def test_next_one_leads_when_the_leader_stops_and_nothing_is_left_undone(depots):
    leader, second, third = await depots.start(3)
    gateway = await depots.gateway()
    for number in range(60):
        await gateway.command_bus.dispatch(BringCommand(bay=f"bay{number % 4}", item=f"i{number}"))
    await leader.stop()
    for number in range(60, 90):
        await gateway.command_bus.dispatch(BringCommand(bay=f"bay{number % 4}", item=f"i{number}"))
    apps = (leader, second, third)
    await eventually(lambda: len({item for app in apps for item in app.weighed}) == 90, PATIENCE)
    led = [app.store.leads for app in (second, third)]
    rang = await gateway.command_bus.execute(LoadCommand(truck="t", item="bell"), until=RangEvent, timeout=PATIENCE)
    one = second if led[0] else third
    assert await one.idle(PATIENCE)
    brought = await one.store.read_all(limit=1000, types=["BroughtEvent"])
    weighed = await one.store.read_all(limit=1000, types=["WeighedEvent"])

    assert sorted(led) == [False, True]
    assert rang == RangEvent(item="t")
    assert sorted(event.message.item for event in brought) == sorted(f"i{number}" for number in range(90))
    assert len(weighed) == 90


async def test_what_a_process_has_taken_that_writes_no_more_is_done_by_the_others(depots):
    leader, failing, third = await depots.start(3)
    gateway = await depots.gateway()
    failing.store._writer.failure = StoreError("planted")
    await brought_by([leader, failing, third], gateway, 60)
    await eventually(lambda: failing._connections.transports == [], PATIENCE)

    assert failing.store.failure is not None
    assert sorted(leader.brought + third.brought) == sorted(f"i{number}" for number in range(60))
    assert await leader.store.dead_letters() == []


async def test_store_is_not_shared_by_processes_whose_commands_stay_at_home(postgres_schema):
    app = depot(MemoryBroker(), f"{postgres_schema}&shared=yes", {})
    app.buses = {"event": "memory://depot"}
    with pytest.raises(UncarriedCommandError, match="goes over no broker"):
        await app.start()
