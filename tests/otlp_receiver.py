"""A receiver of OpenTelemetry spans: OTLP over HTTP with protobuf, on loopback, as a collector speaks it."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass
class Received:
    """One span as it came over the wire."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    attributes: dict[str, Any]
    status: int
    status_text: str
    events: list[dict[str, Any]]
    start: int
    end: int
    service: str
    scope: str
    raw: bytes


@dataclass
class Receiver:
    """Where to send spans, and those that came."""

    url: str = ""
    spans: list[Received] = field(default_factory=list)

    def named(self, name: str) -> list[Received]:
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.start)

    def one(self, name: str) -> Received:
        found = self.named(name)
        assert len(found) == 1, f"{len(found)} x {name}; there are {[span.name for span in self.spans]}"
        return found[0]

    def parent(self, span: Received) -> Received:
        return next(other for other in self.spans if other.span_id == span.parent_id)


@contextmanager
def otlp_receiver() -> Iterator[Receiver]:
    """Receive on a free port until the block ends."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            right = self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf"
            if right:
                receiver.spans += _decoded(ExportTraceServiceRequest.FromString(body))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200 if right else 404)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _decoded(request: ExportTraceServiceRequest) -> Iterator[Received]:
    for resource_spans in request.resource_spans:
        service = _plain(resource_spans.resource.attributes).get("service.name", "")
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield Received(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.kind,
                    _plain(span.attributes),
                    span.status.code,
                    span.status.message,
                    [{"name": event.name, **_plain(event.attributes)} for event in span.events],
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    service,
                    scope_spans.scope.name,
                    span.SerializeToString(),
                )


def _plain(attributes: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in attributes}
