"""The dispatch verb: validate, wait, send, and tell what came of it.

Waits are open before the message is sent. A request that an earlier worker has begun (`accepted` is in
it) is carried on: the message has its id already, so sending it again sends nothing twice, and what had
come before is found in the log.

Knows no sockets: it answers through a callback.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from time import time
from typing import Any

from microlith import Envelope, HandlerFailedError, Message, Microlith, Receipt
from microlith.clock import iso
from microlith.delivery import Delivery
from microlith.errors import NotRunningError, WaitTimeout
from microlith.ids import new_id
from microlith.waits import Wait, question_key
from microlith_cli.errors import DONE, SAID_NO, TIMED_OUT, UsageError
from microlith_cli.supervisor.at_work import tell_at_work
from microlith_cli.supervisor.awaiting import Awaited
from microlith_cli.supervisor.correlation import CorrelationFacts

Line = dict[str, Any]
Reply = Callable[[Line], object]

DEFAULT_TIMEOUT = 5.0
LONGEST_TIMEOUT = 24 * 3600.0
_ARRIVED_AT_MOST = 200
_LATEST = 253_402_300_799.0  # seconds: the end of the year 9999


class Asked:
    """A dispatch, as a client asked for it, with every field checked.

    Attributes:
        kind: Command, query, response or event.
        envelope: The message; it starts a correlation of its own.
        begun: Whether an earlier worker was asked already.
        accepted: Whether that one had recorded the message.
        wanted: What to wait for.
        every: Whether one of each is needed, rather than the first.
        refused: What means "the application said no".
        timeout: Seconds for the waits.
        waited: Seconds that an earlier worker has waited.
        quiet_for: Seconds for which nothing of the correlation may be left to do, before the end; 0: not asked for.
        trace: Whether the client wants the facts of the correlation.
        running: Whether it also wants to be told, again and again, which handlings are under way.
        reveal: Whether it is shown the secrets of the messages it asked for.
        at: The moment it is to be sent at; None: now, or `after`.
        after: In how many seconds it is to be sent.

    Raises:
        UsageError: A field has a value that makes no sense.
        MicrolithError: A type is unknown, or the payload does not fit.
    """

    def __init__(self, app: Microlith, request: Mapping[str, Any]) -> None:
        name = request.get("type")
        if not isinstance(name, str):
            raise UsageError("A dispatch needs the `type` of its message.")
        self.kind = app.types.find(name).kind
        message = app.types.validate(name, request.get("data", {}))
        identifier = request.get("message_id")
        identifier = identifier if isinstance(identifier, str) else new_id()
        headers = _headers(request.get("headers"))
        self.envelope: Envelope[Message] = Envelope(message, identifier, identifier, None, time(), headers=headers)
        self.begun = "accepted" in request
        self.accepted = request.get("accepted") is True
        self.wanted = Awaited(app, request, "wait")
        self.refused = Awaited(app, request, "fail_on")
        self.every = request.get("all") is True
        self.timeout = _timeout(request.get("timeout", DEFAULT_TIMEOUT), "timeout")
        waited = request.get("waited")
        self.waited = max(0.0, float(waited)) if self.begun and isinstance(waited, int | float) else 0.0
        self.quiet_for = _timeout(request["quiet_for"], "quiet_for") if request.get("quiet_for") else 0.0
        self.at = _moment(request.get("at"))
        self.after = _after(request.get("after"))
        if (self.at or self.after is not None) and (self.wanted.classes or self.refused.classes or self.quiet_for):
            raise UsageError("What is sent later is not waited for.", hint="Leave out `at` and `after`, or the waits.")
        self.trace = request.get("trace") is True
        self.running = request.get("running") is True
        self.reveal = request.get("reveal") is True

    @property
    def whole_timeout(self) -> float:
        """Seconds that the client gave the waits, those of earlier workers included."""
        return round(self.timeout + self.waited, 3)


def _headers(value: object) -> Mapping[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise UsageError("`headers` is an object of texts.")
    return value or None


def _timeout(value: object, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST_TIMEOUT:
        raise UsageError(f"`{field}` is a number of seconds, more than 0 and at most {LONGEST_TIMEOUT:.0f}.")
    return float(value)


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UsageError(
            f"{value!r} is no moment with a time zone.",
            hint="Such as 2030-01-31T09:00:00+01:00 or 2030-01-31T08:00:00Z.",
        )
    return moment


def _after(value: object) -> float | None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LATEST):
        return None if value is None else float(value)
    raise UsageError("`after` is a number of seconds from now on.")


async def dispatch(app: Microlith, request: Mapping[str, Any], reply: Reply) -> Line:
    """Do a dispatch; `reply` gets every line but the last, which is returned.

    Raises:
        UsageError, MicrolithError: What was wrong with the request, or why a wait was not met.
    """
    asked = Asked(app, request)
    if app.delivery is None:
        raise NotRunningError(app.name)
    delivery = app.delivery
    exchange = _Exchange(app, delivery, asked, reply)
    try:
        await exchange.send()
        return await exchange.outcome()
    except WaitTimeout as error:
        sent = delivery.tracer.sent_in(asked.envelope.correlation_id)[:_ARRIVED_AT_MOST]
        error.report["arrived"] = [app.cloud_event(envelope) for envelope in sent]
        raise
    finally:
        exchange.close()


class _Exchange:
    """One dispatch under way: the waits that are open for it, and the facts it is shown."""

    def __init__(self, app: Microlith, delivery: Delivery, asked: Asked, reply: Reply) -> None:
        self._app = app
        self._delivery = delivery
        self._asked = asked
        self._reply = reply
        self._deadline = delivery.loop.time() + asked.timeout
        self._needed: list[Wait] = []
        self._refused: Wait | None = None
        self._receipt: Receipt | None = None
        if asked.kind == "query" and not self._is_later:
            self._needed.append(self._open(None, key=question_key(asked.envelope.message_id)))
        if asked.wanted.classes:
            self._needed.append(self._open(asked.wanted, every=asked.every))
        if asked.refused.classes:
            self._refused = self._open(asked.refused)
        self._telling: asyncio.Task[None] | None = None
        self._facts: CorrelationFacts | None = None
        if asked.trace or asked.quiet_for or (self._refused and not self._needed):
            show = (lambda fact: reply({"fact": fact})) if asked.trace else None
            self._facts = CorrelationFacts(app, asked.envelope, show, begun=asked.begun)

    @property
    def _is_later(self) -> bool:
        return self._asked.at is not None or self._asked.after is not None

    async def send(self) -> None:
        """Send the message, unless an earlier worker did, and say that it is accepted."""
        asked = self._asked
        if not asked.accepted or asked.kind == "query":
            self._receipt = self._app.bus_of(asked.kind).dispatch(asked.envelope, at=asked.at, after=asked.after)
            await self._receipt
        if asked.begun:
            await self._look_back()
        sent = asked.envelope if self._receipt is None else self._receipt.envelope
        accepted = self._app.cloud_event(sent, reveal=asked.reveal)
        if self._receipt is not None and self._receipt.change is not None:
            accepted["due"] = iso(self._receipt.change.due)
        self._reply({"accepted": accepted})
        if asked.running:
            correlation = asked.envelope.correlation_id
            self._telling = asyncio.create_task(
                tell_at_work(self._app, correlation, lambda facts: self._reply({"running": facts}))
            )

    async def outcome(self) -> Line:
        """Wait for what was asked for; returns the last line."""
        try:
            if self._needed:
                code = await self._met()
                if code == DONE and self._asked.quiet_for and self._facts is not None:
                    return await self._quiet(self._facts)
            elif self._facts is None:
                code = DONE
            else:
                return await self._quiet(self._facts)
        finally:
            if self._facts is not None:
                self._facts.finish()
        return {"end": True, "exit": code}

    def close(self) -> None:
        """Leave nothing of it. Safe to call twice."""
        for wait in (*self._needed, *([self._refused] if self._refused else [])):
            self._delivery.waits.close(wait)
        if self._facts is not None:
            self._facts.close()
        if self._telling is not None:
            self._telling.cancel()

    async def _met(self) -> int:
        """Wait until all that is needed has come, or something that means no."""
        missing = {wait.future: wait for wait in self._needed}
        refused = None if self._refused is None else self._refused.future
        while missing:
            done, _ = await asyncio.wait(
                [*missing, *([refused] if refused else [])], return_when=asyncio.FIRST_COMPLETED
            )
            if refused is not None and refused in done and refused.exception() is None:
                self._matched(refused.result())
                return SAID_NO
            for future in [future for future in missing if future in done]:
                self._matched(future.result())
                del missing[future]
            if refused in done:  # it ran out of time, and so will the others
                refused = None
        return DONE

    async def _quiet(self, facts: CorrelationFacts) -> Line:
        """Nothing is awaited: wait until the whole correlation is handled, so that all of it can be shown."""
        refused = None if self._refused is None else self._refused.future
        quiet = asyncio.create_task(facts.quiet_for(self._asked.quiet_for))
        try:
            await asyncio.wait(
                [quiet, *([refused] if refused else [])],
                timeout=max(0.0, self._deadline - self._delivery.loop.time()),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            is_quiet = quiet.done()
            quiet.cancel()
        if refused is not None and refused.done() and refused.exception() is None:
            self._matched(refused.result())
            return {"end": True, "exit": SAID_NO}
        if is_quiet:
            quiet.result()
            return {"end": True, "exit": DONE, **({"exit": SAID_NO, "error": facts.failure} if facts.failure else {})}
        running = self._app.running().get(self._asked.envelope.correlation_id, [])
        names = ", ".join(sorted({str(entry["handler"]) for entry in running})) or "handlers that wait their turn"
        error = {
            "type": "StillRunningError",
            "message": f"Not all is handled after {self._asked.whole_timeout:g} s: {names}.",
            "hint": "It goes on; `microlith trace @last` shows how far it came.",
        }
        return {"end": True, "exit": TIMED_OUT, "error": error, "report": {"running": running}}

    def _matched(self, envelopes: tuple[Envelope[Message], ...]) -> None:
        for envelope in envelopes:
            self._reply({"matched": self._app.cloud_event(envelope, reveal=self._asked.reveal)})

    def _open(self, awaited: Awaited | None, *, every: bool = False, key: str | None = None) -> Wait:
        asked = self._asked
        correlation = asked.envelope.correlation_id
        classes = () if awaited is None else awaited.classes
        wait = self._delivery.waits.open(correlation, classes, every=every, timeout=asked.timeout, key=key)
        wait.conditions = None if awaited is None else awaited.conditions
        wait.timeout = asked.whole_timeout  # what is told of it, should it run out
        return wait

    async def _look_back(self) -> None:
        """Show the waits what was recorded while an earlier worker served."""
        correlation = self._asked.envelope.correlation_id
        # A failure is told to the waits before it is committed; one that came before these waits must be readable.
        await self._delivery.store.flush()
        for event in await self._delivery.store.read_correlation(correlation):
            self._delivery.waits.offer(event.envelope)
        failure = await self._delivery.store.failure_of(correlation)
        if failure is not None:
            self._delivery.waits.fail(correlation, HandlerFailedError(*failure))
