"""Requests on their way from clients to the worker, whichever worker that is just now.

While one worker hands over to the next, requests are held; what the old one could not finish is asked
again of the new one. A dispatch has its message id before it is first sent, so that asking again never
sends a message twice.

Knows the form of replies; the verbs' meaning is the worker's.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from microlith.ids import is_id, new_id
from microlith_cli.errors import NOT_REACHABLE, TIMED_OUT

HELD_AT_MOST = 1_000
NO_ANSWER = "NoAnswerError"
"""The error of a request that was held for too long."""
HELD_SECONDS = 30.0

Line = dict[str, Any]
Reply = Callable[[Line], object]


class Answerer(Protocol):
    """A worker, as far as requests need it."""

    def send(self, line: Line) -> None:
        """Hand over one line."""
        ...


class Pending:
    """One request that has no end yet.

    Attributes:
        accepted: Whether a worker has said that the message is recorded; from then on only its waits are left.
        sent: Whether the worker that serves now has it.
        tries: How many workers it was given to.
    """

    def __init__(self, key: str, request: Mapping[str, Any], reply: Reply, now: float) -> None:
        self.key = key
        self.request = dict(request) | {"id": key}
        if request.get("verb") == "dispatch" and not is_id(request.get("message_id")):
            self.request["message_id"] = new_id()
        self.reply = reply
        self.accepted = False
        self.sent = False
        self.tries = 0
        self.matched: set[str] = set()
        self.alarm: asyncio.TimerHandle | None = None
        timeout = request.get("timeout")
        self.began = now
        self.deadline = now + timeout if isinstance(timeout, int | float) and not isinstance(timeout, bool) else None

    def line(self, now: float) -> Line:
        """What to send to a worker now."""
        if self.tries == 0:
            return self.request
        left = {} if self.deadline is None else {"timeout": max(0.01, self.deadline - now), "waited": now - self.began}
        return {**self.request, **left, "accepted": self.accepted}


class Forwarding:
    """Every request that is under way."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pending: dict[str, Pending] = {}
        self._worker: Answerer | None = None
        self._trouble: Line | None = None
        self._last_dispatch: Mapping[str, Any] | None = None

    def __len__(self) -> int:
        return len(self._pending)

    def ask(self, key: str, request: Mapping[str, Any], reply: Reply) -> None:
        """Take a request; `reply` gets each line of the answer, without its id."""
        pending = Pending(key, request, reply, self._loop.time())
        if request.get("verb") == "dispatch":
            self._last_dispatch = request
        if self._worker is not None:
            self._pending[key] = pending
            self._send(self._worker, pending)
        elif self._trouble is not None:
            _refuse(pending, self._trouble, NOT_REACHABLE)
        elif sum(not other.sent for other in self._pending.values()) >= HELD_AT_MOST:
            error = {"type": "TooManyError", "message": f"{HELD_AT_MOST} requests wait for the reload to end."}
            _refuse(pending, error, NOT_REACHABLE)
        else:
            self._pending[key] = pending
            self._hold(pending)

    async def answer(self, request: Mapping[str, Any]) -> Line:
        """Take a request of the supervisor's own; returns the last line of the answer."""
        answered: asyncio.Future[Line] = self._loop.create_future()

        def reply(line: Line) -> None:
            if line.get("end") and not answered.done():
                answered.set_result(line)

        key = f"own/{new_id()}"
        self.ask(key, request, reply)
        try:
            return await answered
        finally:
            self.cancel(key)

    def dispatch_again(self) -> str:
        """Send the message of the last dispatch once more, and wait for nothing; its type, or empty when there was none."""
        last = self._last_dispatch
        if last is None:
            return ""
        request = {"verb": "dispatch", "type": last.get("type"), "data": last.get("data", {})}
        if "headers" in last:
            request["headers"] = last["headers"]
        self.ask(f"again/{new_id()}", request, lambda _: None)
        return str(last.get("type"))

    def cancel(self, key: str) -> None:
        """Forget a request whose client has gone."""
        pending = self._pending.pop(key, None)
        if pending is None:
            return
        if pending.alarm is not None:
            pending.alarm.cancel()
        if pending.sent and self._worker is not None:
            self._worker.send({"tell": "cancel", "id": key})

    def connect(self, worker: Answerer) -> None:
        """Send everything that was held to a worker that serves now, and what comes too."""
        self._worker, self._trouble = worker, None
        for pending in list(self._pending.values()):
            self._send(worker, pending)

    def hold(self) -> None:
        """Keep what comes until the next worker serves. The one that stops may still answer what it has."""
        self._worker, self._trouble = None, None

    def lose(self) -> None:
        """The worker is gone for good: what it has not answered is for the next one."""
        self.hold()
        for pending in self._pending.values():
            if pending.sent:
                self._hold(pending)

    def refuse(self, trouble: Line) -> None:
        """Answer everything no worker has, and all that comes, with an error."""
        self._worker, self._trouble = None, trouble
        for pending in list(self._pending.values()):
            if not pending.sent:
                self._end(pending)
                _refuse(pending, trouble, NOT_REACHABLE)

    def take(self, line: Line) -> None:
        """Pass on one line of an answer from a worker."""
        pending = self._pending.get(str(line["id"]))
        if pending is None:
            return  # its client has gone
        if line.get("again"):
            self._hold(pending)
            if self._trouble is not None:
                self.refuse(self._trouble)
            return
        if "accepted" in line:
            if pending.accepted:
                return
            pending.accepted = True
        elif "matched" in line:
            if (matched := str(line["matched"].get("id"))) in pending.matched:
                return
            pending.matched.add(matched)
        if line.get("end"):
            self._end(pending)
        pending.reply({name: value for name, value in line.items() if name != "id"})

    def _send(self, worker: Answerer, pending: Pending) -> None:
        if pending.alarm is not None:
            pending.alarm.cancel()
            pending.alarm = None
        line = pending.line(self._loop.time())
        pending.sent = True
        pending.tries += 1
        worker.send(line)

    def _hold(self, pending: Pending) -> None:
        pending.sent = False
        if pending.alarm is None:
            now = self._loop.time()
            seconds = HELD_SECONDS if pending.deadline is None else min(HELD_SECONDS, pending.deadline - now)
            pending.alarm = self._loop.call_later(seconds, self._expire, pending)

    def _expire(self, pending: Pending) -> None:
        self._end(pending)
        error = {
            "type": NO_ANSWER,
            "message": "The microlith was reloading for longer than this request may wait.",
            "hint": "What it had accepted is carried on; `microlith trace @last` shows how far it came.",
        }
        _refuse(pending, error, TIMED_OUT)

    def _end(self, pending: Pending) -> None:
        if pending.alarm is not None:
            pending.alarm.cancel()
            pending.alarm = None
        self._pending.pop(pending.key, None)


def _refuse(pending: Pending, error: Line, code: int) -> None:
    pending.reply({"end": True, "exit": code, "error": error})
