"""OpenTelemetry: a span for each message that is sent, and one for each time it is handled.

Names follow the semantic conventions for messaging. The context travels in the envelope's headers as W3C
`traceparent` and `tracestate`, so it is stored with the message: what is handled later, tried again or sent on
schedule stays in its trace. No field of a message is in a span, and no secret in an error's text.

Sets up no exporter unless asked to (`OpenTelemetry.exporting`), and knows no transport.
"""

import asyncio
import traceback
from collections.abc import Callable, Mapping
from threading import Thread
from types import MappingProxyType
from typing import Any, Self

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach, get_current, set_value
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from microlith.context import Handling, handling_now
from microlith.envelope import Envelope
from microlith.errors import text_of
from microlith.messages import Message, Response
from microlith.middleware import Middleware, Proceed
from microlith.payloads import scrub
from microlith.secrecy import hidden_values

SCHEMA = "https://opentelemetry.io/schemas/1.37.0"
"""The version of the semantic conventions that the names are from."""

_HANDLING = "microlith-handling"
_NOWHERE = Context()
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_LONGEST = 2_000
"""Characters of an error's text."""


class OpenTelemetry(Middleware):
    """Makes spans: `send TYPE` where a message is sent, `process TYPE` from when a handler begins until its commit.

    The parent of what is sent is, in this order: the handling that sends it, or a span of yours inside it; the current
    span; the headers `traceparent` and `tracestate` of the envelope. A header that names another trace than the current
    span goes first: somebody put it there. The parent of a handling is the sending of its message, for every try.

    Give it last: what a later middleware refuses was sent as far as this one knows.
    """

    def __init__(
        self, tracer_provider: TracerProvider | None = None, *, propagator: TextMapPropagator | None = None
    ) -> None:
        """Choose where spans go and how their context travels.

        Args:
            tracer_provider: None: the global one, also if that is set up later. While there is none, no spans are made, and a
                context that comes in is passed on.
            propagator: Writes the context into headers and reads it there. None: W3C trace context, without baggage,
                which would be stored with every message.
        """
        self._tracer = trace.get_tracer("microlith", tracer_provider=tracer_provider, schema_url=SCHEMA)
        self._propagator = propagator or TraceContextTextMapPropagator()
        self._end: Callable[[], None] | None = None
        # Each is taken out when it is settled; there are as many as messages between a lane's queue and their commit.
        self._open: dict[Handling, Span] = {}

    @classmethod
    def exporting(cls, service: str, endpoint: str | None = None) -> Self:
        """Make one that sends its spans by OTLP over HTTP, in batches, from a thread, until the process ends.

        Where to, how often and how many of them is said by the standard variables: OTEL_EXPORTER_OTLP_ENDPOINT,
        OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER, OTEL_BSP_SCHEDULE_DELAY and so on.

        Args:
            service: `service.name`, if OTEL_SERVICE_NAME is not set.
            endpoint: Url of the receiver, such as "http://localhost:4318". None: what the variables say, or that one.
        """
        # Only who exports needs the SDK.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider as SDKTracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        resource = Resource.create({SERVICE_NAME: service}).merge(OTELResourceDetector().detect())
        provider = SDKTracerProvider(resource=resource)
        traces = None if endpoint is None else f"{endpoint.rstrip('/')}/v1/traces"
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=traces)))
        made = cls(provider)
        made._end = provider.shutdown
        return made

    def shutdown(self, seconds: float) -> None:
        """Send what `exporting` has gathered, and make no more spans: for a process that cannot wait for its end to do that.

        Args:
            seconds: How long it may take. What a receiver has not taken by then is lost; without a word, for it says so itself.
        """
        if self._end is not None:
            # The exporter tries for ten seconds and cannot be told otherwise; a process may end over this thread.
            thread = Thread(target=self._end, name="microlith spans", daemon=True)
            thread.start()
            thread.join(seconds)

    def dispatching(self, envelope: Envelope[Any]) -> Envelope[Any]:
        """Make the span of sending; put its context into the headers."""
        handling = handling_now.get()
        parent = self._parent(envelope, handling)
        attributes = _facts("send", envelope)
        if handling is not None:
            attributes["microlith.component"] = _component(handling)
        if envelope.causation_id is not None:
            attributes["microlith.causation_id"] = envelope.causation_id
        span = self._tracer.start_span(f"send {type(envelope.message).__name__}", parent, SpanKind.PRODUCER, attributes)
        span.end()
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, trace.set_span_in_context(span, parent))
        headers = envelope.headers
        if headers:
            carrier = {name: text for name, text in headers.items() if name not in self._propagator.fields} | carrier
        if not carrier:
            return envelope
        return envelope.with_headers(carrier)

    async def handling(self, envelope: Envelope[Any], proceed: Proceed) -> Any:
        """Make the span of handling current while the handler runs. It ends when the handling is settled."""
        handling = handling_now.get()
        if handling is None:
            return await proceed()
        if getattr(handling, "conflicts", 0):
            self._end_conflict(handling)
        parent = self._told(envelope.headers)
        span = self._open[handling] = self._begin(handling, parent)
        token = attach(set_value(_HANDLING, handling, trace.set_span_in_context(span, parent)))
        try:
            value = await proceed()
        except asyncio.CancelledError:
            # One that took too long is settled before the loop turns; one that is cut off never is.
            asyncio.get_running_loop().call_soon(self._cut_off, handling)
            raise
        finally:
            detach(token)
        if isinstance(value, Response):
            span.set_attribute("microlith.response", type(value).__name__)
        return value

    def settled(self, handling: Handling, error: BaseException | None) -> None:
        """End the span of a handling with its outcome; make one for a message that was parked unhandled."""
        span = self._open.pop(handling, None)
        if span is None:
            span = self._begin(handling, self._told(handling.envelope.headers))
        if span.is_recording():
            span.set_attribute("microlith.outcome", handling.outcome)
            if handling.outcome == "ignored":
                span.set_attribute("microlith.reason", scrub(handling.reason, _hidden(handling)))
            if error is not None:
                _note(span, error, handling)
        span.end()

    def _begin(self, handling: Handling, parent: Context) -> Span:
        envelope = handling.envelope
        attributes = _facts("process", envelope)
        attributes |= {
            "messaging.destination.subscription.name": handling.handler,
            "microlith.component": _component(handling),
            "microlith.handler": handling.handler,
            "microlith.attempt": handling.attempt,
            "microlith.queued_ms": round((handling.started - handling.queued) * 1000, 3),
        }
        if handling.position is not None:
            attributes["microlith.position"] = handling.position
        if handling.letter is not None:
            attributes["microlith.dead_letter"] = handling.letter
        return self._tracer.start_span(
            f"process {type(envelope.message).__name__}", parent, SpanKind.CONSUMER, attributes
        )

    def _parent(self, envelope: Envelope[Any], handling: Handling | None) -> Context:
        """Find what a message is sent in."""
        here = get_current()
        # Another handling's context, or that of who started the application, may hold in the lane's task.
        if handling is not None and here.get(_HANDLING) is not handling:
            span = self._open.get(handling)
            here = self._told(handling.envelope.headers) if span is None else trace.set_span_in_context(span, _NOWHERE)
        if not envelope.headers:
            return here
        told = self._told(envelope.headers)
        theirs, ours = (trace.get_current_span(one).get_span_context() for one in (told, here))
        return told if theirs.is_valid and theirs.trace_id != ours.trace_id else here

    def _told(self, headers: Mapping[str, str] | None) -> Context:
        return self._propagator.extract(headers, _NOWHERE) if headers else _NOWHERE

    def _end_conflict(self, handling: Handling) -> None:
        """End the span of the decision that lost a race and is now made anew."""
        for other, span in list(self._open.items()):
            if other.envelope is handling.envelope and other.handler == handling.handler:
                del self._open[other]
                span.set_attribute("microlith.outcome", "conflict")
                span.end()

    def _cut_off(self, handling: Handling) -> None:
        span = self._open.pop(handling, None)
        if span is not None:
            span.set_attribute("microlith.outcome", "cut off")
            span.set_status(StatusCode.ERROR, "The application stopped before the handler ended.")
            span.end()


def _facts(operation: str, envelope: Envelope[Any]) -> dict[str, Any]:
    message: Message = envelope.message
    name = type(message).__name__
    return {
        "messaging.system": "microlith",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": name,
        "messaging.message.id": envelope.message_id,
        "messaging.message.conversation_id": envelope.correlation_id,
        "microlith.bus": message.__kind__,
        "microlith.type": name,
    }


def _component(handling: Handling) -> str:
    return handling.handler.partition(".")[0]


def _hidden(handling: Handling) -> list[str]:
    return list(hidden_values(handling.envelope.message))


def _note(span: Span, error: BaseException, handling: Handling) -> None:
    """Record an error. Not by the span's own way, which would take its text as it is."""
    hidden, cls = _hidden(handling), type(error)
    name = cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    # The whole text is scrubbed before it is cut: half a secret is no longer found.
    text = scrub(text_of(error), hidden)[:_LONGEST]
    frames = scrub("".join(traceback.format_tb(error.__traceback__)), hidden)
    span.set_attribute("error.type", name)
    span.set_status(StatusCode.ERROR, f"{cls.__name__}: {text}")
    span.add_event(
        "exception",
        {"exception.type": name, "exception.message": text, "exception.stacktrace": f"{frames}{name}: {text}"},
    )
