"""A receiver of spans, and providers that send theirs to it. Their libraries are an extra."""

from typing import Any

import pytest


@pytest.fixture
def receiver():
    pytest.importorskip("opentelemetry.proto")
    from tests.otlp_receiver import otlp_receiver

    with otlp_receiver() as receiver:
        yield receiver


@pytest.fixture
def providers(receiver):
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    made: list[TracerProvider] = []

    def make(service: str = "shop", sampler: Any = None) -> TracerProvider:
        provider = TracerProvider(resource=Resource({"service.name": service}), sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{receiver.url}/v1/traces")))
        made.append(provider)
        return provider

    yield make
    for provider in made:
        provider.shutdown()
