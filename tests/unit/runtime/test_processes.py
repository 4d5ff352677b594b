"""Processes: one at a time for each key, in the order of the log, each step one commit, nothing twice."""

from typing import Any

import pytest
from pydantic import Field

from microlith import Component, Event, Microlith, Process, Retry, continues, correlated, starts
from microlith.event_store.protocol import RecordedEvent, Unit
from tests.eventually import eventually
from tests.unit.runtime.fulfilment import (
    Fulfilment,
    OrderPlacedEvent,
    OrderShippedEvent,
    PaymentTakenEvent,
    PlaceOrder,
    TakePayment,
    application,
)

STEPS = "process-Fulfilment-{}"


@pytest.fixture(params=["memory:", "sqlite:{}/events.db"])
def store(request, tmp_path) -> str:
    """Name a store: in memory, and in a file."""
    return str(request.param.format(tmp_path))


async def steps_of(app: Microlith, stream: str) -> list[tuple[str, bool, Any]]:
    """Read what a process took, whether it had ended, and its state after that."""
    return [
        (event.message.took, event.message.ended, event.message.state.model_dump())  # type: ignore[attr-defined]
        for event in await app.store.read(stream)
    ]


async def log_of(app: Microlith) -> list[RecordedEvent]:
    """Read everything."""
    return await app.store.read_all(limit=100_000)


async def test_a_process_follows_its_events_to_the_end(store):
    async with application(store) as app:
        await app.command_bus.execute(PlaceOrder(order_id="7"), until=OrderShippedEvent)
        await app.idle()

        assert await steps_of(app, STEPS.format(7)) == [
            ("OrderPlacedEvent", False, {"paid_by": "", "takings": 0}),
            ("PaymentTakenEvent", False, {"paid_by": "card", "takings": 1}),
            ("OrderShippedEvent", True, {"paid_by": "card", "takings": 1}),
        ]


async def test_step_and_output_share_the_correlation_and_the_step_is_caused_by_its_event(store):
    async with application(store) as app:
        command = correlated(PlaceOrder(order_id="7"))
        app.command_bus.dispatch(command)
        await app.event_bus.wait_for(command.correlation_id, OrderShippedEvent)
        await app.idle()
        log = await log_of(app)

    placed = next(event for event in log if event.type == "OrderPlacedEvent")
    step = next(event for event in log if event.type == "FulfilmentStepped")
    assert step.causation_id == placed.message_id
    assert {event.correlation_id for event in log} == {command.correlation_id}
    assert {event.stream for event in log} == {"shop", STEPS.format(7)}


async def test_an_event_before_the_start_and_one_after_the_end_are_ignored_and_traced(store):
    async with application(store) as app:
        follower = app.tracer.follow()
        await app.event_bus.dispatch(PaymentTakenEvent(order_id="7", by="nobody"))
        await app.idle()
        assert await app.store.read(STEPS.format(7)) == []

        await app.command_bus.execute(PlaceOrder(order_id="7"), until=OrderShippedEvent)
        await app.idle()
        await app.event_bus.dispatch(OrderPlacedEvent(order_id="7"))
        await app.idle()
        app.tracer.flush()
        handled = [fact["data"] for fact in follower.take() if fact["type"] == "microlith.handled"]
        ignored = [(data["message"], data["reason"]) for data in handled if data["outcome"] == "ignored"]

        assert ignored == [
            ("PaymentTakenEvent", "no process Fulfilment '7' has started"),
            ("OrderPlacedEvent", "the process Fulfilment '7' has ended"),
        ]
        assert len(await app.store.read(STEPS.format(7))) == 3
        assert await app.store.dead_letters() == []


async def test_events_of_one_commit_are_taken_in_the_order_of_the_log(store):
    """The second event is of another type, so that it would be handled beside the first, had each type a queue."""
    async with application(store) as app:
        events = [
            event
            for n in range(200)
            for event in (OrderPlacedEvent(order_id=f"{n}"), PaymentTakenEvent(order_id=f"{n}", by="cash"))
        ]
        for event in events:
            app.event_bus.dispatch(event)
        await app.idle(30)

        first = [(await app.store.read(STEPS.format(n)))[:2] for n in range(200)]
    taken = [[step.message.took for step in steps] for steps in first]  # type: ignore[attr-defined]
    assert taken == [["OrderPlacedEvent", "PaymentTakenEvent"]] * 200


async def test_a_hundred_events_of_one_key_lose_no_step(store):
    async with application(store, Fragile) as app:
        app.event_bus.dispatch(OrderPlacedEvent(order_id="7"))
        for n in range(100):
            app.event_bus.dispatch(PaymentTakenEvent(order_id="7", by=f"{n}"))
        await app.idle(30)
        steps = await steps_of(app, "process-Fragile-7")

    assert [state["seen"] for _, _, state in steps] == [[f"{k}" for k in range(n)] for n in range(101)]


async def test_a_process_is_carried_on_by_the_next_application(tmp_path):
    store = f"sqlite:{tmp_path}/events.db"

    class Waiting(Fulfilment, formerly=("Fulfilment",)):
        """The same, renamed; its payments come from elsewhere."""

        @starts
        def placed(self, event: OrderPlacedEvent) -> None:  # type: ignore[override]
            """Only wait."""

    async with application(store, Waiting) as app:
        await app.event_bus.dispatch(OrderPlacedEvent(order_id="7"))
        await app.idle()

    async with application(store, Waiting) as app:
        await app.event_bus.dispatch(PaymentTakenEvent(order_id="7"))
        await app.idle()
        assert [took for took, _, _ in await steps_of(app, "process-Waiting-7")] == [
            "OrderPlacedEvent",
            "PaymentTakenEvent",
            "OrderShippedEvent",
        ]


async def test_a_renamed_process_goes_on_in_the_stream_it_began_in(tmp_path):
    store = f"sqlite:{tmp_path}/events.db"
    silent = Component("shop")

    class Delivery(Process, key="order_id"):
        """Counts."""

        takings: int = 0

        @starts
        def placed(self, event: OrderPlacedEvent) -> None:
            """Count from one."""
            self.takings += 1

    silent.process(Delivery)
    async with Microlith("shop", [silent], store=store) as app:
        await app.event_bus.dispatch(OrderPlacedEvent(order_id="7"))
        await app.idle()

    class Shipment(Delivery, key="order_id", formerly=("Delivery",)):
        """The same under another name."""

    renamed = Component("shop")
    renamed.process(Shipment)
    async with Microlith("shop", [renamed], store=store) as app:
        await app.event_bus.dispatch(OrderPlacedEvent(order_id="7"))
        await app.idle()
        # A handler of another name has a checkpoint of its own; the first event stays with the former one.
        assert await steps_of(app, "process-Delivery-7") == [
            ("OrderPlacedEvent", False, {"takings": 1}),
            ("OrderPlacedEvent", False, {"takings": 2}),
        ]
        assert await app.store.read("process-Shipment-7") == []


async def test_an_event_that_comes_again_is_not_taken_again(store):
    async with application(store) as app:
        command = correlated(PlaceOrder(order_id="7"))
        app.command_bus.dispatch(command)
        await app.event_bus.wait_for(command.correlation_id, OrderShippedEvent)
        await app.idle()
        placed = next(event for event in await log_of(app) if event.type == "OrderPlacedEvent")
        before = len(await log_of(app))
        assert app.delivery is not None
        lane = next(lane for lane in app.delivery.routes.lanes() if lane.name == "shop.Fulfilment")

        lane.push(placed.envelope, position=10_000)  # as a transport does that delivers at least once
        await app.idle()

        assert len(await log_of(app)) == before


async def test_a_step_that_loses_a_race_is_decided_anew(store, monkeypatch):
    async with application(store) as app:
        await app.event_bus.dispatch(OrderPlacedEvent(order_id="7"))
        await app.idle()
        # The process has ended by now. Begin another one, and write a step behind its back, once.
        original, raced = app.store.complete, []

        def race(unit: Unit, done: Any) -> None:
            if unit.places and not raced and unit.settlement and unit.settlement.handler == "shop.Fulfilment":
                raced.append(unit)
                rival = correlated(unit.envelopes[0].message)
                places = {rival.message_id: next(iter(unit.places.values()))}
                original(Unit([rival], places=places), lambda *_: None)
            original(unit, done)

        monkeypatch.setattr(app.store, "complete", race)
        await app.event_bus.dispatch(OrderPlacedEvent(order_id="8"))
        await app.idle()
        steps = [took for took, _, _ in await steps_of(app, STEPS.format(8))]

        assert raced
        assert steps == ["OrderPlacedEvent", "OrderPlacedEvent", "PaymentTakenEvent", "OrderShippedEvent"]
        assert await app.store.dead_letters() == []


class Fragile(Process, key="order_id"):
    """Fails on some payments."""

    fails: int = 0
    seen: list[str] = Field(default_factory=list)

    @starts
    def placed(self, event: OrderPlacedEvent) -> None:
        """Wait."""

    @continues
    def took(self, event: PaymentTakenEvent) -> TakePayment | None:
        """Fail on bad money, after changing the state."""
        self.seen.append(event.by)
        if event.by == "bad":
            raise ValueError("bad money")
        return None


async def test_a_step_that_fails_leaves_nothing_behind(store):
    async with application(store, Fragile) as app:
        for event in (
            OrderPlacedEvent(order_id="7"),
            PaymentTakenEvent(order_id="7", by="bad"),
        ):
            app.event_bus.dispatch(event)
        await app.idle()
        letters = await app.store.dead_letters()

        assert [(letter.handler, letter.type) for letter in letters] == [("shop.Fragile", "PaymentTakenEvent")]
        assert "bad money" in letters[0].error
        assert await steps_of(app, "process-Fragile-7") == [("OrderPlacedEvent", False, {"fails": 0, "seen": []})]


async def test_what_comes_after_a_failed_step_waits_for_it_and_other_processes_do_not(store):
    mended: list[bool] = []

    class Mendable(Fragile, key="order_id"):
        """Takes bad money once it is mended."""

        def took(self, event: PaymentTakenEvent) -> None:
            """Fail on bad money until then."""
            if event.by == "bad" and not mended:
                raise ValueError("bad money")
            self.seen.append(event.by)

    async with application(store, Mendable) as app:
        for order_id, by in (("7", ""), ("8", ""), ("7", "bad"), ("7", "good"), ("8", "good")):
            event = PaymentTakenEvent(order_id=order_id, by=by) if by else OrderPlacedEvent(order_id=order_id)
            app.event_bus.dispatch(event)
        await app.idle()
        before = (await steps_of(app, "process-Mendable-7"))[-1][2]["seen"]
        other = (await steps_of(app, "process-Mendable-8"))[-1][2]["seen"]
        mended.append(True)

        await app.retry_dead_letter((await app.store.dead_letters())[0].sequence)
        await app.idle()

        assert (before, other) == ([], ["good"])
        assert (await steps_of(app, "process-Mendable-7"))[-1][2]["seen"] == ["bad", "good"]
        assert await app.store.dead_letters() == []


async def test_a_retried_step_starts_from_the_state_before(store):
    tries: list[str] = []

    class Stubborn(Fragile, key="order_id"):
        """Fails once."""

        @continues
        def took(self, event: PaymentTakenEvent) -> None:
            """Fail the first time."""
            self.seen.append(event.by)
            tries.append(event.by)
            if len(tries) == 1:
                raise ValueError("not yet")

    async with application(store, Stubborn, Retry(attempts=2, first=0)) as app:
        app.event_bus.dispatch(OrderPlacedEvent(order_id="7"))
        app.event_bus.dispatch(PaymentTakenEvent(order_id="7", by="card"))
        app.event_bus.dispatch(PaymentTakenEvent(order_id="7", by="cash"))
        await app.idle()

        assert tries == ["card", "card", "cash"]
        assert (await steps_of(app, "process-Stubborn-7"))[-1][2]["seen"] == ["card", "cash"]


async def test_returning_what_is_no_message_makes_a_dead_letter_and_no_step(store):
    class Careless(Process, key="order_id"):
        """Returns rubbish."""

        @starts
        def placed(self, event: OrderPlacedEvent) -> Any:
            """Return a number among the messages."""
            return [TakePayment(order_id="7"), 7]

    async with application(store, Careless) as app:
        await app.event_bus.dispatch(OrderPlacedEvent(order_id="7"))
        await app.idle()
        letters = await app.store.dead_letters()

        assert "returned a int among its messages" in letters[0].error
        assert await app.store.read("process-Careless-7") == []
        assert not [event for event in await log_of(app) if event.type == "PaymentTakenEvent"]


async def test_without_a_key_a_process_belongs_to_its_correlation():
    component = Component("shop")

    class Flow(Process):
        """Counts what one first message leads to."""

        seen: int = 0

        @starts
        def begun(self, event: OrderPlacedEvent | PaymentTakenEvent) -> None:
            """Count."""
            self.seen += 1

    component.process(Flow)
    async with Microlith("shop", [component], store="memory:") as app:
        first = correlated(OrderPlacedEvent(order_id="1"))
        await app.event_bus.dispatch(first)
        await app.event_bus.dispatch(OrderPlacedEvent(order_id="2"))
        await app.idle()

        assert len(await app.store.read(f"process-Flow-{first.correlation_id}")) == 1


async def test_a_key_that_is_none_is_an_error_that_says_so():
    class Found(Event):
        """Perhaps found."""

        order_id: str | None

    class Search(Process, key="order_id"):
        """Looks."""

        @starts
        def found(self, event: Found) -> None:
            """Look."""

    component = Component("shop")
    component.process(Search)
    async with Microlith("shop", [component], store="memory:") as app:
        await app.event_bus.dispatch(Found(order_id=None))
        await app.idle()

        assert "Found.order_id is None and cannot be the key of Search" in (await app.store.dead_letters())[0].error


async def test_retrying_the_dead_letter_of_a_step_takes_the_event(store):
    good: list[bool] = []

    class Late(Process, key="order_id"):
        """Works once it is mended."""

        @starts
        def placed(self, event: OrderPlacedEvent) -> TakePayment:
            """Fail until mended."""
            if not good:
                raise ValueError("not yet")
            return TakePayment(order_id=event.order_id)

    async with application(store, Late) as app:
        await app.event_bus.dispatch(OrderPlacedEvent(order_id="7"))
        await app.idle()
        (letter,) = await app.store.dead_letters()
        good.append(True)

        await app.retry_dead_letter(letter.sequence)
        await app.idle()

        assert await app.store.dead_letters() == []
        assert [took for took, _, _ in await steps_of(app, "process-Late-7")] == ["OrderPlacedEvent"]
        assert [event.type for event in await log_of(app)].count("PaymentTakenEvent") == 1


async def test_the_catalog_tells_of_processes_what_they_take_and_send():
    catalog = application().catalog()

    (process,) = catalog["processes"]
    rows = {row["message"]: row for row in catalog["handlers"] if row["name"] == "shop.Fulfilment"}
    assert (process["name"], process["key"], process["step"]) == ("shop.Fulfilment", "order_id", "FulfilmentStepped")
    assert process["starts"] == ["OrderPlacedEvent"]
    assert process["continues"] == ["PaymentTakenEvent", "OrderShippedEvent"]
    assert rows["OrderPlacedEvent"]["emits"] == ["TakePayment", "FulfilmentStepped"]
    assert rows["OrderShippedEvent"]["emits"] == ["FulfilmentStepped"]
    assert rows["PaymentTakenEvent"]["line"] > rows["OrderPlacedEvent"]["line"]


async def test_what_a_process_missed_while_it_was_down_is_taken_from_the_log(tmp_path):
    store = f"sqlite:{tmp_path}/events.db"
    async with application(store) as app:
        await app.idle()

    others = Component("shop")  # the process is not there, and its events are

    @others.handles(OrderPlacedEvent)
    async def note(event: OrderPlacedEvent) -> None: ...

    async with Microlith("shop", [others], store=store) as app:
        await app.event_bus.dispatch(OrderPlacedEvent(order_id="7"))
        await app.idle()

    async with application(store) as app:
        steps = []

        async def look() -> None:
            steps[:] = await steps_of(app, STEPS.format(7))

        await app.idle()
        await look()
        await eventually(lambda: len(steps) == 3)


async def test_a_key_that_can_name_no_stream_makes_a_dead_letter_and_is_not_tried_for_ever(store):
    async with application(store) as app:
        app.command_bus.dispatch(PlaceOrder(order_id="7\0"))
        await app.idle()

        (letter,) = await app.store.dead_letters()
        assert (letter.handler, letter.attempts) == ("shop.Fulfilment", 1)
        assert letter.error.startswith("StreamNameError")
        assert app.delivery is not None
        assert not any(lane.under_way for lane in app.delivery.routes.lanes())
