"""Dispatching: what a receipt says, what is refused, and how correlation travels."""

import asyncio
import threading

import pytest

from microlith import (
    BusFullError,
    Command,
    CommandBus,
    Component,
    Event,
    HandlerFailedError,
    Microlith,
    MicrolithError,
    NoHandlerError,
    PayloadError,
    correlated,
    current_envelope,
)
from microlith.errors import CascadeTooDeepError, ForeignLoopError, NotRunningError, UnknownTypeError, WrongBusError
from tests.eventually import eventually
from tests.unit.runtime.shop import (
    AccountCountRequest,
    AccountOpenedEvent,
    OpenAccount,
    WelcomeSentEvent,
    make_shop,
)


async def test_receipt_has_the_ids_before_anything_is_stored():
    async with make_shop() as app:
        envelope = correlated(OpenAccount(email="a@b.c"))

        receipt = app.command_bus.dispatch(envelope)

        assert receipt.message_id == envelope.message_id
        assert receipt.correlation_id == envelope.correlation_id == envelope.message_id


async def test_awaited_receipt_is_the_receipt():
    async with make_shop() as app:
        receipt = app.command_bus.dispatch(OpenAccount(email="a@b.c"))

        assert await receipt is receipt


async def test_what_a_handler_sends_inherits_correlation_and_causation():
    async with make_shop() as app:
        command = correlated(OpenAccount(email="a@b.c"))
        app.command_bus.dispatch(command)
        await app.event_bus.wait_for(command.correlation_id, WelcomeSentEvent)

        opened, welcomed = await app.store.read_correlation(command.correlation_id)

        assert (opened.type, welcomed.type) == ("AccountOpenedEvent", "WelcomeSentEvent")
        assert opened.causation_id == command.message_id
        assert welcomed.causation_id == opened.message_id
        assert welcomed.depth == 2


async def test_a_thousand_chains_at_once_never_mix_their_ids():
    async with make_shop() as app:
        commands = [correlated(OpenAccount(email=f"{n}@b.c")) for n in range(1000)]
        for command in commands:
            app.command_bus.dispatch(command)

        found = await asyncio.gather(
            *(app.event_bus.wait_for(c.correlation_id, WelcomeSentEvent, timeout=20) for c in commands)
        )

        assert [event.email for event in found] == [f"{n}@b.c" for n in range(1000)]


async def test_an_envelope_dispatched_twice_is_handled_once():
    async with make_shop() as app:
        command = correlated(OpenAccount(email="a@b.c"))
        await app.command_bus.dispatch(command)
        await app.command_bus.dispatch(command)
        await app.event_bus.wait_for(command.correlation_id, WelcomeSentEvent)

        await asyncio.sleep(0.05)

        assert [event.type for event in await app.store.read_all()] == ["AccountOpenedEvent", "WelcomeSentEvent"]


async def test_dispatch_from_a_thread_is_accepted_and_waits_in_that_thread():
    async with make_shop() as app:
        ids: list[str] = []

        def work() -> None:
            ids.append(app.command_bus.dispatch(OpenAccount(email="t@b.c")).result(timeout=5).correlation_id)

        await asyncio.to_thread(work)

        assert (await app.event_bus.wait_for(ids[0], AccountOpenedEvent)).email == "t@b.c"


async def test_a_refusal_by_the_store_reaches_a_thread_too(tmp_path):
    async with make_shop(store=f"sqlite:{tmp_path}/events.db") as app:

        def work() -> None:
            app.command_bus.dispatch(OpenAccount(email="x" * 2_000_000)).result(timeout=5)

        with pytest.raises(PayloadError, match="bytes long"):
            await asyncio.to_thread(work)


async def test_a_handler_that_sends_what_cannot_be_stored_fails_and_nothing_is_written(tmp_path):
    component = Component("big")

    @component.handles(Ping)
    async def ping(event: Ping) -> Large:
        return Large(text="x" * 2_000_000)

    async with Microlith("big", [component], store=f"sqlite:{tmp_path}/events.db") as app:
        receipt = app.event_bus.dispatch(Ping())
        with pytest.raises(HandlerFailedError, match="bytes long"):
            await app.event_bus.wait_for(receipt.correlation_id, Large)

        assert await app.store.head() == 0


async def test_dispatch_from_another_loop_is_refused():
    async with make_shop() as app:
        caught: list[BaseException] = []

        async def foreign() -> None:
            try:
                app.command_bus.dispatch(OpenAccount(email="a@b.c"))
            except MicrolithError as error:
                caught.append(error)

        thread = threading.Thread(target=lambda: asyncio.run(foreign()))
        thread.start()
        await asyncio.to_thread(thread.join)

        assert isinstance(caught[0], ForeignLoopError)


async def test_a_message_on_the_wrong_bus_is_refused_with_the_right_one():
    async with make_shop() as app:
        with pytest.raises(WrongBusError, match="is an event; the command bus does not carry it") as caught:
            app.command_bus.dispatch(AccountOpenedEvent(email="a@b.c"))  # type: ignore[arg-type]  # what a type checker says, too

        assert "event bus" in caught.value.hint


async def test_dispatch_before_start_is_refused():
    with pytest.raises(NotRunningError, match="'shop' is not running"):
        make_shop().command_bus.dispatch(OpenAccount(email="a@b.c"))


class Unhandled(Command):
    """Nobody takes it."""


class Undeclared(Event):
    """No component declares it."""


class Ping(Event):
    """One of a pair that never stops."""


class Pong(Event):
    """The other one."""


class Large(Event):
    """Longer than any payload may be."""

    text: str


class Never(Event):
    """Never sent."""


async def test_a_command_without_a_handler_is_refused_with_a_hint():
    component = Component("lonely")
    component.handles(OpenAccount)(lambda command: None)
    app = Microlith("lonely", [component], store="memory:")
    app.wire().types.add(Unhandled, "lonely")

    async with app:
        with pytest.raises(NoHandlerError, match="No handler for 'Unhandled'; 1 other"):
            app.command_bus.dispatch(Unhandled())


async def test_an_undeclared_message_is_refused():
    async with make_shop() as app:
        with pytest.raises(UnknownTypeError, match="Undeclared"):
            app.event_bus.dispatch(Undeclared())


async def test_a_full_lane_refuses_instead_of_growing():
    async with make_shop(lane_limit=10) as app:
        for number in range(10):
            app.command_bus.dispatch(OpenAccount(email=f"{number}@b.c"))

        with pytest.raises(BusFullError, match="holds 10 unhandled"):
            app.command_bus.dispatch(OpenAccount(email="one@too.many"))


async def test_awaiting_each_receipt_passes_any_number_through_a_small_lane():
    async with make_shop(lane_limit=10) as app:
        for number in range(200):
            await app.command_bus.dispatch(OpenAccount(email=f"{number}@b.c"))
            await asyncio.sleep(0)

        await app.command_bus.execute(OpenAccount(email="last@b.c"), until=AccountOpenedEvent)
        assert (await app.query_bus.ask(AccountCountRequest())).count == 201


async def test_an_endless_cascade_is_refused_at_the_limit_and_shows_its_chain():
    component = Component("endless")
    seen = 0

    @component.handles(Ping)
    async def ping(event: Ping) -> Pong | Never:
        return Pong()

    @component.handles(Pong)
    async def pong(event: Pong) -> Ping:
        nonlocal seen
        seen += 1
        return Ping()

    async with Microlith("endless", [component], store="memory:", max_depth=20) as app:
        receipt = app.event_bus.dispatch(Ping())
        with pytest.raises(HandlerFailedError) as caught:
            await app.event_bus.wait_for(receipt.correlation_id, Never, timeout=5)

    assert isinstance(caught.value.__cause__, CascadeTooDeepError)
    assert caught.value.__cause__.chain[-2:] == ("Ping", "Pong")
    assert seen == 10


async def test_the_handled_message_is_visible_in_tasks_and_threads_of_a_handler():
    component = Component("context")
    seen: list[str | None] = []

    def note() -> None:
        envelope = current_envelope()
        seen.append(None if envelope is None else envelope.message_id)

    @component.handles(Ping)
    async def ping(event: Ping) -> None:
        note()
        await asyncio.gather(asyncio.to_thread(note), asyncio.create_task(_later(note)))

    @component.handles(Pong)
    def pong(event: Pong) -> None:
        note()

    async with Microlith("context", [component], store="memory:") as app:
        first = app.event_bus.dispatch(Ping())
        await first
        await eventually(lambda: len(seen) == 3)
        second = app.event_bus.dispatch(Pong())
        await eventually(lambda: len(seen) == 4)

    assert seen == [first.message_id] * 3 + [second.message_id]


async def _later(call: object) -> None:
    await asyncio.sleep(0)
    call()  # type: ignore[operator]


class Step(Command):
    n: int


async def test_awaited_dispatch_waits_until_its_lane_is_less_crowded():
    steps = Component("steps")
    go, handled = asyncio.Event(), 0

    @steps.handles(Step)
    async def step(_command: Step) -> None:
        nonlocal handled
        await go.wait()
        handled += 1

    async def send_many() -> None:
        for number in range(3_000):
            await app.command_bus.dispatch(Step(n=number))

    async with Microlith("steps", [steps], store="memory:") as app:
        sending = asyncio.create_task(send_many())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(sending), 0.2)

        go.set()
        await asyncio.wait_for(sending, 5)
        await eventually(lambda: handled == 3_000)


async def test_handler_that_sends_much_to_itself_does_not_wait_for_itself():
    steps = Component("steps")
    handled = 0

    @steps.handles(Step)
    async def step(command: Step, bus: CommandBus) -> None:
        nonlocal handled
        handled += 1
        for number in range(3_000 if command.n == 0 else 0):
            await bus.dispatch(Step(n=number + 1))

    async with Microlith("steps", [steps], store="memory:") as app:
        await app.command_bus.dispatch(Step(n=0))

        await eventually(lambda: handled == 3_001)
