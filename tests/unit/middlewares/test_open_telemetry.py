"""OpenTelemetry: what the spans say, told to a real OTLP receiver; no payload, no secret."""

import asyncio
import subprocess
import sys

import pytest
from pydantic import SecretStr

from microlith import (
    Component,
    HandlerFailedError,
    Microlith,
    QueryBus,
    Retry,
    WiringError,
)
from microlith.middlewares import Timeout
from tests.eventually import eventually
from tests.unit.middlewares.ordering import (
    Order,
    Ordered,
    PriceRequest,
    PriceResponse,
    Ship,
    Shipped,
    make_app,
    make_empty,
    make_sales,
    make_stock,
)

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from microlith.middlewares import OpenTelemetry
from tests.otlp_receiver import Receiver
from tests.unit.runtime.test_aggregates import Deposit, DepositedEvent, Intruder, contested

PRODUCER, CONSUMER = 4, 5  # as the protocol numbers them
ERROR = 2


async def test_the_tree_of_a_correlation_is_one_trace(receiver: Receiver, providers):
    async with make_app(providers(), make_sales(), make_stock()) as app:
        receipt = app.command_bus.dispatch(Order(sku="nut-4711", card=SecretStr("hunter22")))
        await app.event_bus.wait_for(receipt.correlation_id, Shipped)
        await app.idle()

    path, span = [], receiver.one("send Shipped")
    while True:
        path.append(span.name)
        if not span.parent_id:
            break
        span = receiver.parent(span)
    assert path[::-1] == [
        "send Order",
        "process Order",
        "send Ordered",
        "process Ordered",
        "send Ship",
        "process Ship",
        "send Shipped",
    ]
    assert len({span.trace_id for span in receiver.spans}) == 1
    assert len(receiver.spans) == 7
    assert not [span.name for span in receiver.spans if b"nut-4711" in span.raw or b"hunter22" in span.raw]


async def test_spans_say_what_the_conventions_ask_for(receiver: Receiver, providers):
    async with make_app(providers(), make_sales(), make_stock()) as app:
        receipt = app.command_bus.dispatch(Order(sku="nut"))
        await app.event_bus.wait_for(receipt.correlation_id, Shipped)
        await app.idle()

    sent, handled = receiver.one("send Order"), receiver.one("process Order")
    ids = {
        "messaging.system": "microlith",
        "messaging.destination.name": "Order",
        "messaging.message.id": receipt.message_id,
        "messaging.message.conversation_id": receipt.correlation_id,
        "microlith.bus": "command",
        "microlith.type": "Order",
    }
    assert (sent.kind, handled.kind) == (PRODUCER, CONSUMER)
    assert sent.attributes == {**ids, "messaging.operation.name": "send", "messaging.operation.type": "send"}
    assert handled.attributes.pop("microlith.queued_ms") >= 0
    assert handled.attributes == {
        **ids,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.subscription.name": "sales.take",
        "microlith.component": "sales",
        "microlith.handler": "sales.take",
        "microlith.attempt": 1,
        "microlith.outcome": "ok",
    }
    assert receiver.one("process Ordered").attributes["microlith.position"] == 0
    assert receiver.one("send Ordered").attributes["microlith.component"] == "sales"
    assert receiver.one("send Ordered").attributes["microlith.causation_id"] == receipt.message_id
    assert {(span.service, span.scope, span.status) for span in receiver.spans} == {("shop", "microlith", 0)}


async def test_a_handling_lasts_until_what_it_sent_is_committed(receiver: Receiver, providers, tmp_path):
    async with make_app(providers(), make_sales(), store=f"sqlite:{tmp_path}/events.db") as app:
        await app.command_bus.execute(Order(sku="nut"), until=Ordered)
        await app.idle()

    handled, sent = receiver.one("process Order"), receiver.one("send Ordered")
    assert handled.start <= sent.start <= sent.end <= handled.end


async def test_each_try_is_a_span_beside_the_others(receiver: Receiver, providers):
    async with make_app(providers(), make_sales(retry=Retry(3, first=0.001))) as app:
        with pytest.raises(HandlerFailedError):
            await app.command_bus.execute(Order(sku="nut", how="fail"), until=Ordered)

    tries = receiver.named("process Order")
    assert [span.attributes["microlith.attempt"] for span in tries] == [1, 2, 3]
    assert [span.attributes["microlith.outcome"] for span in tries] == ["retried", "retried", "failed"]
    assert {receiver.parent(span).name for span in tries} == {"send Order"}


async def test_an_error_is_recorded_without_its_secrets(receiver: Receiver, providers):
    async with make_app(providers(), make_sales()) as app:
        with pytest.raises(HandlerFailedError):
            await app.command_bus.execute(Order(sku="nut", card=SecretStr("hunter22"), how="fail"), until=Ordered)

    span = receiver.one("process Order")
    assert (span.status, span.status_text) == (ERROR, "ValueError: card *** was refused")
    assert span.attributes["error.type"] == "ValueError"
    [event] = span.events
    assert (event["name"], event["exception.message"]) == ("exception", "card *** was refused")
    assert "raise ValueError" in event["exception.stacktrace"]
    assert not [span.name for span in receiver.spans if b"hunter22" in span.raw]


async def test_what_took_too_long_and_what_was_cut_off_end_their_spans(receiver: Receiver, providers):
    slow = make_empty("slow")

    @slow.handles(Order)
    async def take(_order: Order) -> None:
        await asyncio.sleep(60)

    @slow.handles(Ship)
    async def ship(_command: Ship) -> None:
        await asyncio.sleep(60)

    app = make_app(providers(), slow, before=[Timeout({Order: 0.02})])
    async with app:
        with pytest.raises(HandlerFailedError):
            await app.command_bus.execute(Order(sku="nut"), until=Shipped)
        await app.command_bus.dispatch(Ship(sku="nut"))
        await eventually(lambda: receiver.named("send Ship") and app.running())
        assert await app.stop(drain=0.01) == 1

    assert receiver.one("process Order").attributes["microlith.outcome"] == "timeout"
    assert receiver.one("process Ship").attributes["microlith.outcome"] == "cut off"
    assert (receiver.one("process Order").status, receiver.one("process Ship").status) == (ERROR, ERROR)


async def test_a_query_and_its_answer(receiver: Receiver, providers):
    prices = Component("prices")

    @prices.handles(PriceRequest)
    async def price(_request: PriceRequest) -> PriceResponse:
        return PriceResponse(cents=5)

    @prices.handles(Order)
    async def take(order: Order, queries: QueryBus) -> Ordered:
        await queries.ask(PriceRequest(sku=order.sku))
        return Ordered(sku=order.sku)

    async with make_app(providers(), prices) as app:
        await app.command_bus.execute(Order(sku="nut"), until=Ordered)
        await app.idle()

    asked, answered = receiver.one("send PriceRequest"), receiver.one("process PriceRequest")
    assert receiver.parent(asked) is receiver.one("process Order")
    assert receiver.parent(answered) is asked
    assert (answered.attributes["microlith.bus"], answered.attributes["microlith.response"]) == (
        "query",
        "PriceResponse",
    )
    assert receiver.one("process Order").end >= answered.end


async def test_a_dead_letter_that_is_tried_again_after_a_restart_is_in_the_trace_of_its_message(
    receiver: Receiver, providers, tmp_path
):
    broken = [True]
    sales = Component("sales")

    @sales.handles(Order)
    async def take(order: Order) -> Ordered:
        if broken:
            raise ValueError("not now")
        return Ordered(sku=order.sku)

    store = f"sqlite:{tmp_path}/events.db"
    async with make_app(providers(), sales, store=store) as app:
        with pytest.raises(HandlerFailedError):
            await app.command_bus.execute(Order(sku="nut"), until=Ordered)
        await app.idle()
        [letter] = await app.store.dead_letters()
    broken.clear()
    async with make_app(providers(), sales, store=store) as app:
        await app.retry_dead_letter(letter.sequence)

    failed, tried = receiver.named("process Order")
    assert (failed.attributes["microlith.outcome"], tried.attributes["microlith.outcome"]) == ("failed", "ok")
    assert tried.attributes["microlith.dead_letter"] == letter.sequence
    assert receiver.parent(tried) is receiver.parent(failed) is receiver.one("send Order")


async def test_a_message_that_is_parked_has_a_span_that_says_so(receiver: Receiver, providers):
    async with make_app(providers(), make_sales(key="sku")) as app:
        for how in ("fail", ""):
            with pytest.raises(HandlerFailedError):
                await app.command_bus.execute(Order(sku="nut", how=how), until=Ordered)

    _failed, parked = receiver.named("process Order")
    assert (parked.attributes["microlith.outcome"], parked.attributes["microlith.attempt"]) == ("failed", 0)
    assert parked.attributes["error.type"].endswith("BehindDeadLetterError")
    assert receiver.parent(parked) is receiver.named("send Order")[1]


async def test_a_decision_that_lost_its_race_ends_its_span_and_is_made_anew_in_another(receiver: Receiver, providers):
    app = contested(Intruder(times=2))
    app.middleware = (OpenTelemetry(providers()),)
    async with app:
        await app.command_bus.execute(Deposit(account_id="a", amount=10), until=DepositedEvent)

    outcomes = [span.attributes["microlith.outcome"] for span in receiver.named("process Deposit")]
    assert outcomes == ["conflict", "conflict", "ok"]


async def test_nothing_is_left_open(providers):
    telemetry = OpenTelemetry(providers(sampler=ALWAYS_OFF))
    async with Microlith("shop", [make_sales(), make_stock()], store="memory:", middleware=[telemetry]) as app:
        for how in ("", "fail"):
            app.command_bus.dispatch(Order(sku="nut", how=how))
        await app.idle()

        assert not telemetry._open
        assert trace.get_current_span(Context()) is trace.INVALID_SPAN


def test_spans_of_a_short_script_arrive_before_it_ends(receiver: Receiver, tmp_path):
    script = """
import asyncio
from microlith import Command, Component, Microlith
from microlith.middlewares import OpenTelemetry

class Ping(Command):
    pass

one = Component("one")

@one.handles(Ping)
async def ping(_: Ping) -> None:
    pass

async def main():
    async with Microlith("shop", [one], store="memory:", middleware=[OpenTelemetry.exporting("shop")]) as app:
        await app.command_bus.dispatch(Ping())
        await app.idle()

asyncio.run(main())
"""
    environment = {"PATH": "", "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", script], env=environment, cwd=tmp_path, check=True, timeout=30)

    assert {span.name: span.service for span in receiver.spans} == {"send Ping": "shop", "process Ping": "shop"}


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "microlith.middlewares.open_telemetry")

    with pytest.raises(WiringError, match="needs the package opentelemetry") as caught:
        from microlith.middlewares import OpenTelemetry  # noqa: F401

    assert "microlith[otel]" in caught.value.hint


def test_an_application_without_it_loads_none_of_it():
    script = "import sys, microlith.application, microlith.middlewares; print('opentelemetry' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert ended.stdout.strip() == "False"
