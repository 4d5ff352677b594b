"""Trace context: where a trace comes from, and that it goes on wherever its messages go."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from microlith import (
    Component,
    Envelope,
    correlated,
)
from microlith.buses import EventBus
from microlith.testing import VirtualClock, in_memory
from tests.eventually import eventually
from tests.unit.middlewares.ordering import (
    INCOMING,
    Fulfilment,
    Order,
    Ordered,
    Ship,
    Shipped,
    make_app,
    make_empty,
    make_sales,
    make_stock,
)

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

from opentelemetry import trace
from opentelemetry.propagate import inject
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from tests.otlp_receiver import Receiver


async def test_a_context_that_came_by_http_goes_on_through_an_envelope_to_another_application(receiver, providers):
    gateway = Component("gateway")
    passed_on: list[dict[str, str]] = []

    @gateway.handles(Ordered)
    async def pass_on(_event: Ordered, envelope: Envelope[Any]) -> None:
        passed_on.append(dict(envelope.headers or {}))

    headers = {"traceparent": INCOMING, "tracestate": "vendor=1"}
    async with make_app(providers(), make_sales(), gateway) as shop:
        await shop.command_bus.dispatch(correlated(Order(sku="nut"), headers=headers))
        await eventually(lambda: passed_on)
    async with make_app(providers("warehouse"), make_stock(), name="warehouse") as warehouse:
        receipt = warehouse.command_bus.dispatch(correlated(Ship(sku="nut"), headers=passed_on[0]))
        await warehouse.event_bus.wait_for(receipt.correlation_id, Shipped)
        await warehouse.idle()

    first, elsewhere = receiver.one("send Order"), receiver.one("send Ship")
    assert (first.trace_id, first.parent_id) == (INCOMING[3:35], INCOMING[36:52])
    assert passed_on[0]["tracestate"] == "vendor=1"
    assert receiver.parent(elsewhere) is receiver.one("send Ordered")
    assert {span.trace_id for span in receiver.spans} == {INCOMING[3:35]}
    assert {span.service for span in receiver.spans} == {"shop", "warehouse"}


async def test_the_current_span_is_the_parent_of_what_is_sent_in_it(receiver: Receiver, providers):
    provider = providers()
    tracer = provider.get_tracer("web")
    async with make_app(provider, make_sales()) as app:
        with tracer.start_as_current_span("GET /"):
            inside: dict[str, str] = {}
            inject(inside)  # what a gateway copies from the request names the same trace
            app.command_bus.dispatch(correlated(Order(sku="nut"), headers=inside))
            with tracer.start_as_current_span("inner"):
                app.command_bus.dispatch(correlated(Order(sku="bolt"), headers=inside))
        await app.idle()

    assert [receiver.parent(span).name for span in receiver.named("send Order")] == ["GET /", "inner"]


async def test_a_span_that_was_current_at_start_is_nobodys_parent(receiver: Receiver, providers):
    provider = providers()
    with provider.get_tracer("main").start_as_current_span("main"):
        async with make_app(provider, make_sales()) as app:
            await app.command_bus.execute(Order(sku="nut"), until=Ordered)
            await app.idle()

    assert receiver.parent(receiver.one("send Ordered")) is receiver.one("process Order")


async def test_what_a_handler_does_is_inside_its_span(receiver: Receiver, providers):
    provider = providers()
    tracer = provider.get_tracer("shop")
    tools = make_empty("tools")
    left: list[asyncio.Task[None]] = []

    @tools.handles(Order)
    async def take(_order: Order, events: EventBus) -> None:
        async def later() -> None:
            await asyncio.sleep(0.02)
            await events.dispatch(Shipped(sku="late"))

        left.append(asyncio.create_task(later()))
        with tracer.start_as_current_span("work"):
            await asyncio.to_thread(events.dispatch, Ordered(sku="nut"))

    async with make_app(provider, tools) as app:
        tools_of = app.event_bus.subscribe("Ordered", lambda _event: None)
        app.event_bus.subscribe("Shipped", lambda _event: None)
        receipt = app.command_bus.dispatch(Order(sku="nut"))
        await app.event_bus.wait_for(receipt.correlation_id, Shipped)
        await app.idle()
        tools_of.cancel()
    await asyncio.gather(*left)

    handled = receiver.one("process Order")
    assert receiver.parent(receiver.one("work")) is handled
    assert receiver.parent(receiver.one("send Ordered")) is receiver.one("work")
    assert receiver.parent(receiver.one("send Shipped")) is handled
    assert receiver.one("send Shipped").start > handled.end


async def test_what_is_sent_on_schedule_and_by_a_process_stays_in_its_trace(receiver: Receiver, providers):
    flows = make_sales()
    flows.process(Fulfilment)

    @flows.handles(Ship)
    async def ship(command: Ship) -> Shipped:
        return Shipped(sku=command.sku)

    clock = VirtualClock()
    async with in_memory(make_app(providers(), flows), clock=clock) as app:
        receipt = app.command_bus.dispatch(Order(sku="nut"))
        await clock.advance(timedelta(days=4))
        await app.event_bus.wait_for(receipt.correlation_id, Shipped)
        await app.idle()

    step, due = receiver.one("process Ordered"), receiver.one("process Ship")
    assert receiver.parent(receiver.one("send Ship")) is step
    assert receiver.parent(due) is receiver.one("send Ship")
    assert len({span.trace_id for span in receiver.spans}) == 1


async def test_a_trace_that_is_not_sampled_is_told_on_and_sends_nothing(receiver: Receiver, providers):
    seen: list[str] = []
    last = Component("last")

    @last.handles(Ordered)
    async def see(_event: Ordered, envelope: Envelope[Any]) -> None:
        seen.append((envelope.headers or {})["traceparent"])

    async with make_app(providers(sampler=ParentBased(TraceIdRatioBased(1.0))), make_sales(), last) as app:
        app.command_bus.dispatch(correlated(Order(sku="nut"), headers={"traceparent": f"{INCOMING[:-1]}0"}))
        await eventually(lambda: seen)

    assert seen[0][3:35] == INCOMING[3:35]
    assert seen[0].endswith("-00")
    assert not receiver.spans


async def test_without_a_provider_a_context_that_comes_in_is_passed_on_and_none_is_made():
    seen: list[Any] = []
    last = Component("last")

    @last.handles(Ordered)
    async def see(_event: Ordered, envelope: Envelope[Any]) -> None:
        seen.append(envelope.headers)

    async with make_app(trace.NoOpTracerProvider(), make_sales(), last) as app:
        for headers in ({"traceparent": INCOMING}, {"tenant": "one"}, {"traceparent": "nonsense"}):
            app.command_bus.dispatch(correlated(Order(sku="nut"), headers=headers))
        await eventually(lambda: len(seen) == 3)

    assert seen == [{"traceparent": INCOMING}, None, None]


async def test_many_correlations_at_once_do_not_mix(receiver: Receiver, providers):
    async with make_app(providers(), make_sales(concurrency=8), make_stock()) as app:
        receipts = [app.command_bus.dispatch(Order(sku=str(n))) for n in range(30)]
        for receipt in receipts:
            await app.event_bus.wait_for(receipt.correlation_id, Shipped, timeout=20)
        await app.idle()

    traces: dict[str, set[str]] = {}
    for span in receiver.spans:
        traces.setdefault(span.trace_id, set()).add(span.attributes["messaging.message.conversation_id"])
    assert len(traces) == 30
    assert {len(correlations) for correlations in traces.values()} == {1}
