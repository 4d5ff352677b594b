"""Waiting: before and after, first and all, and what is left of a wait afterwards."""

import asyncio

import pytest

from microlith import ClosedError, HandlerFailedError, MicrolithError, WaitTimeout, correlated
from microlith.errors import UnknownTypeError, WrongBusError
from tests.eventually import eventually
from tests.unit.runtime.shop import (
    AccountCountRequest,
    AccountCountResponse,
    AccountOpenedEvent,
    FailCommand,
    OpenAccount,
    OpenErrorRaised,
    SlowCommand,
    SlowDoneEvent,
    WelcomeSentEvent,
    make_shop,
)


async def test_wait_for_returns_the_first_of_several():
    async with make_shop() as app:
        for expected in (AccountOpenedEvent, OpenErrorRaised):
            command = correlated(OpenAccount(email="a@b.c"))
            app.command_bus.dispatch(command)

            answer = await app.event_bus.wait_for(command.correlation_id, (AccountOpenedEvent, OpenErrorRaised))

            assert type(answer) is expected


async def test_wait_for_finds_an_event_that_came_before_the_call():
    async with make_shop() as app:
        receipt = await app.command_bus.dispatch(OpenAccount(email="a@b.c"))
        await app.event_bus.wait_for(receipt.correlation_id, WelcomeSentEvent)

        answer = await app.event_bus.wait_for(receipt.correlation_id, "AccountOpenedEvent", timeout=0.1)

        assert answer == AccountOpenedEvent(email="a@b.c")


async def test_wait_all_returns_one_of_each_in_the_order_asked():
    async with make_shop() as app:
        receipt = app.command_bus.dispatch(OpenAccount(email="a@b.c"))

        welcomed, opened = await app.event_bus.wait_all(receipt.correlation_id, (WelcomeSentEvent, AccountOpenedEvent))

        assert isinstance(welcomed, WelcomeSentEvent)
        assert isinstance(opened, AccountOpenedEvent)


async def test_execute_dispatches_and_waits():
    async with make_shop() as app:
        opened = await app.command_bus.execute(OpenAccount(email="a@b.c"), until=AccountOpenedEvent)

        assert opened.email == "a@b.c"


@pytest.mark.parametrize("store", ["memory:", "sqlite:{}/events.db"])
async def test_execute_finds_what_an_envelope_led_to_when_it_was_sent_before(store, tmp_path):
    async with make_shop(store=store.format(tmp_path)) as app:
        command = correlated(OpenAccount(email="a@b.c"))
        await app.command_bus.execute(command, until=WelcomeSentEvent)

        again = await app.command_bus.execute(command, until=AccountOpenedEvent, timeout=2)

        assert again == AccountOpenedEvent(email="a@b.c")


async def test_waiting_for_nothing_is_refused():
    async with make_shop() as app:
        with pytest.raises(ValueError, match="at least one message type"):
            await app.command_bus.execute(OpenAccount(email="a@b.c"), until=())

        assert app.waits == 0


async def test_a_long_name_is_cut_in_the_error():
    async with make_shop() as app:
        with pytest.raises(UnknownTypeError) as caught:
            await app.event_bus.wait_for("some-id", "x" * 100_000)

        assert len(str(caught.value)) < 300


async def test_ask_returns_the_response():
    async with make_shop() as app:
        await app.command_bus.execute(OpenAccount(email="a@b.c"), until=AccountOpenedEvent)

        assert await app.query_bus.ask(AccountCountRequest()) == AccountCountResponse(count=1)


async def test_wait_for_on_the_query_bus_finds_the_response_before_and_after():
    async with make_shop() as app:
        query = correlated(AccountCountRequest())
        app.query_bus.dispatch(query)

        first = await app.query_bus.wait_for(query.correlation_id, "AccountCountResponse")
        second = await app.query_bus.wait_for(query.correlation_id, AccountCountResponse, timeout=0.1)

        assert first == second == AccountCountResponse(count=0)


async def test_a_failing_handler_ends_the_wait_at_once_with_its_error_as_the_cause():
    async with make_shop() as app:
        with pytest.raises(
            HandlerFailedError, match=r"accounts\.fail failed on FailCommand: ValueError: boom"
        ) as caught:
            await app.command_bus.execute(FailCommand(text="boom"), until=AccountOpenedEvent, timeout=30)

        assert isinstance(caught.value.__cause__, ValueError)


async def test_a_wait_that_begins_after_the_failure_finds_it_too():
    async with make_shop() as app:
        receipt = await app.command_bus.dispatch(FailCommand(text="boom"))
        await asyncio.sleep(0.05)

        with pytest.raises(HandlerFailedError, match="boom"):
            await app.event_bus.wait_for(receipt.correlation_id, AccountOpenedEvent, timeout=5)


async def test_a_wait_that_begins_before_the_failure_is_committed_finds_it_too(tmp_path):
    async with make_shop(store=f"sqlite:{tmp_path}/events.db") as app:
        failed: list[str] = []
        app.delivery.waits.fail = lambda correlation_id, failure: failed.append(correlation_id)  # type: ignore[union-attr,method-assign]
        receipt = app.command_bus.dispatch(FailCommand(text="boom"))
        await eventually(lambda: failed)

        with pytest.raises(HandlerFailedError, match="boom") as caught:
            await app.event_bus.wait_for(receipt.correlation_id, AccountOpenedEvent, timeout=2)

    assert isinstance(caught.value.__cause__, ValueError)


async def test_a_failing_query_handler_fails_the_one_who_asked():
    async with make_shop() as app:
        with pytest.raises(HandlerFailedError, match=r"accounts\.count failed"):
            await app.query_bus.ask(AccountCountRequest(email="fail@b.c"))


async def test_timeout_tells_what_ran_what_runs_and_who_could_have_answered():
    async with make_shop() as app:
        with pytest.raises(WaitTimeout) as caught:
            await app.command_bus.execute(SlowCommand(seconds=30), until=SlowDoneEvent, timeout=0.1)
        await app.stop(drain=0)

    error = caught.value
    assert isinstance(error, TimeoutError)
    assert error.report["arrived"] == ["SlowCommand"]
    assert error.report["missing"] == ["SlowDoneEvent"]
    assert [entry["handler"] for entry in error.report["running"]] == ["accounts.slow"]
    assert error.report["could_emit"] == {"SlowDoneEvent": ["accounts.slow"]}
    assert "Still running: accounts.slow" in str(error)


async def test_timeout_names_the_handler_that_has_not_begun_and_how_much_waits_there():
    async with make_shop() as app:
        app.command_bus.dispatch(SlowCommand(seconds=30))
        app.command_bus.dispatch(SlowCommand(seconds=30))
        with pytest.raises(WaitTimeout) as caught:
            await app.command_bus.execute(SlowCommand(seconds=0), until=SlowDoneEvent, timeout=0.1)
        await app.stop(drain=0)

    assert caught.value.report["running"] == []
    assert caught.value.report["waiting"] == [{"handler": "accounts.slow", "message": "SlowCommand", "queued": 2}]
    assert "Not begun: accounts.slow (SlowCommand, 2 queued)" in str(caught.value)


async def test_timeout_names_no_handler_as_waiting_that_has_ended():
    async with make_shop() as app:
        with pytest.raises(WaitTimeout) as caught:
            await app.command_bus.execute(OpenAccount(email="a@b.c"), until=SlowDoneEvent, timeout=0.1)

    assert caught.value.report["waiting"] == []
    assert "Not begun" not in str(caught.value)


@pytest.mark.parametrize("store", ["memory:", "sqlite:{}/events.db"])
async def test_wait_for_on_the_command_bus_finds_a_command_that_waits_behind_thousands(store, tmp_path):
    async with make_shop(store=store.format(tmp_path)) as app:
        app.command_bus.dispatch(SlowCommand(seconds=30))
        sought = app.command_bus.dispatch(SlowCommand(seconds=0.125))
        for _ in range(2_000):
            app.command_bus.dispatch(SlowCommand(seconds=0))

        found = await app.command_bus.wait_for(sought.correlation_id, "SlowCommand", timeout=5)

        await app.stop(drain=0, finish_queues=False)
    assert found == SlowCommand(seconds=0.125)


async def test_wait_for_on_the_command_bus_finds_what_an_earlier_process_accepted(tmp_path):
    store = f"sqlite:{tmp_path}/events.db"
    async with make_shop(store=store) as app:
        app.command_bus.dispatch(SlowCommand(seconds=30))
        sought = await app.command_bus.dispatch(SlowCommand(seconds=0.125))
        await app.stop(drain=0, finish_queues=False)

    async with make_shop(store=store) as app:
        found = await app.command_bus.wait_for(sought.correlation_id, SlowCommand, timeout=5)

        await app.stop(drain=0, finish_queues=False)
    assert found == SlowCommand(seconds=0.125)


async def test_wait_for_on_the_command_bus_finds_what_a_handler_sent_long_ago():
    async with make_shop() as app:
        app.event_bus.subscribe(AccountOpenedEvent, lambda _event: SlowCommand(seconds=0))
        receipt = app.command_bus.dispatch(OpenAccount(email="a@b.c"))
        await app.event_bus.wait_for(receipt.correlation_id, SlowDoneEvent)
        for _ in range(1_000):
            app.command_bus.dispatch(SlowCommand(seconds=0))
        await app.idle()

        found = await app.command_bus.wait_for(receipt.correlation_id, SlowCommand, timeout=0.1)

    assert found == SlowCommand(seconds=0)


async def test_a_wait_on_the_command_bus_that_begins_after_the_failure_is_told():
    async with make_shop() as app:
        receipt = app.command_bus.dispatch(FailCommand(text="no"))
        with pytest.raises(HandlerFailedError):
            await app.event_bus.wait_for(receipt.correlation_id, SlowDoneEvent)

        with pytest.raises(HandlerFailedError):
            await app.command_bus.wait_for(receipt.correlation_id, SlowCommand, timeout=5)


async def test_a_late_result_is_found_by_a_second_wait():
    async with make_shop() as app:
        receipt = app.command_bus.dispatch(SlowCommand(seconds=0.2))
        with pytest.raises(WaitTimeout):
            await app.event_bus.wait_for(receipt.correlation_id, SlowDoneEvent, timeout=0.05)

        assert await app.event_bus.wait_for(receipt.correlation_id, SlowDoneEvent, timeout=5) == SlowDoneEvent()


async def test_timeout_says_what_happened_however_much_else_did():
    async with make_shop() as app:
        command = correlated(OpenAccount(email="a@b.c"))
        waiting = asyncio.create_task(app.event_bus.wait_for(command.correlation_id, SlowDoneEvent, timeout=0.5))
        await asyncio.sleep(0)
        app.command_bus.dispatch(command)
        for number in range(2_000):
            app.command_bus.dispatch(OpenAccount(email=f"{number}@b.c"))

        with pytest.raises(WaitTimeout) as caught:
            await waiting

    assert caught.value.report["arrived"][:2] == ["OpenAccount", "AccountOpenedEvent"]
    assert {entry["handler"] for entry in caught.value.report["ran"]} >= {"accounts.open_account"}


async def test_shorter_wait_ends_before_a_longer_one_that_began_earlier():
    async with make_shop() as app:
        longer = asyncio.create_task(app.event_bus.wait_for("nothing", SlowDoneEvent, timeout=20))
        await asyncio.sleep(0)
        for _ in range(2):
            with pytest.raises(WaitTimeout):
                await app.event_bus.wait_for("nothing", SlowDoneEvent, timeout=0.03)

        assert not longer.done()
        longer.cancel()


@pytest.mark.parametrize("end", ["match", "timeout", "cancel", "close"])
async def test_nothing_of_a_wait_is_left_after_any_end(end: str):
    app = make_shop()
    await app.start()
    receipt = app.command_bus.dispatch(SlowCommand(seconds=0.05 if end == "match" else 30))
    waiting = asyncio.create_task(
        app.event_bus.wait_for(receipt.correlation_id, SlowDoneEvent, timeout=0.1 if end == "timeout" else 20)
    )
    await asyncio.sleep(0.02)
    waits = app.delivery.waits if app.delivery else None
    assert waits is not None
    assert len(waits) == 1

    if end == "cancel":
        waiting.cancel()
    elif end == "close":
        await app.stop(drain=0)
    (outcome,) = await asyncio.gather(waiting, return_exceptions=True)

    expected = {"match": SlowDoneEvent, "timeout": WaitTimeout, "cancel": asyncio.CancelledError, "close": ClosedError}
    assert isinstance(outcome, expected[end])
    assert len(waits) == 0
    assert not waits.watched
    assert not waits._buckets
    await app.stop(drain=0)


async def test_ten_thousand_waits_end_once_each_and_leave_nothing():
    async with make_shop() as app:
        commands = [correlated(OpenAccount(email=f"{n}@b.c")) for n in range(10_000)]
        waits = [
            asyncio.create_task(app.event_bus.wait_for(c.correlation_id, AccountOpenedEvent, timeout=30))
            for c in commands
        ]
        await asyncio.sleep(0)
        for command in commands:
            app.command_bus.dispatch(command)

        answers = await asyncio.gather(*waits)

        assert [answer.email for answer in answers] == [f"{n}@b.c" for n in range(10_000)]
        assert app.waits == 0


async def test_waiting_for_a_name_nobody_declares_says_which_is_near():
    async with make_shop() as app:
        with pytest.raises(UnknownTypeError) as caught:
            await app.event_bus.wait_for("some-id", "AcountOpenedEvent")

        assert "AccountOpenedEvent" in caught.value.hint


@pytest.mark.parametrize("correlation_id", ["\ud800", "\0", "", "x" * 1_000_000, "%", "'; DROP TABLE events"])
@pytest.mark.parametrize("store", ["memory:", "sqlite:{}/events.db"])
async def test_an_id_that_no_message_has_is_waited_for_in_vain(store, tmp_path, correlation_id):
    async with make_shop(store=store.format(tmp_path)) as app:
        for bus, wanted in ((app.event_bus, SlowDoneEvent), (app.command_bus, SlowCommand)):
            with pytest.raises(WaitTimeout):
                await bus.wait_for(correlation_id, wanted, timeout=0.01)


async def test_waiting_on_the_wrong_bus_is_refused():
    async with make_shop() as app:
        with pytest.raises(WrongBusError):
            await app.query_bus.wait_for("some-id", AccountOpenedEvent)


async def test_a_subscription_by_name_sees_messages_until_it_is_cancelled():
    async with make_shop() as app:
        seen: list[str] = []
        subscription = app.event_bus.subscribe("AccountOpenedEvent", lambda event: seen.append(event.email))

        await app.command_bus.execute(OpenAccount(email="a@b.c"), until=WelcomeSentEvent)
        await eventually(lambda: seen)
        subscription.cancel()
        await app.command_bus.execute(OpenAccount(email="b@b.c"), until=WelcomeSentEvent)

        assert seen == ["a@b.c"]


async def test_a_second_handler_for_a_command_is_refused_at_subscribe():
    async with make_shop() as app:
        with pytest.raises(MicrolithError, match="OpenAccount has two handlers"):
            app.command_bus.subscribe(OpenAccount, lambda command: None)


@pytest.mark.parametrize("timeout", [float("inf"), float("nan"), None, "5"])
async def test_a_timeout_that_is_no_number_of_seconds_is_refused_and_leaves_nothing(timeout):
    async with make_shop() as app:
        with pytest.raises(ValueError, match="number of seconds"):
            await app.event_bus.wait_for("nothing", SlowDoneEvent, timeout=timeout)

        assert app.waits == 0


async def test_ten_thousand_waits_on_one_correlation_end_together_and_leave_nothing():
    async with make_shop() as app:
        command = correlated(OpenAccount(email="a@b.c"))
        waits = [
            asyncio.create_task(app.event_bus.wait_for(command.correlation_id, AccountOpenedEvent))
            for _ in range(10_000)
        ]
        await asyncio.sleep(0)
        app.command_bus.dispatch(command)

        assert len(await asyncio.gather(*waits)) == 10_000

        assert app.waits == 0
