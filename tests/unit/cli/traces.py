"""Traces to draw and to filter: facts as a running application would tell them."""

from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 11, 23, 12, 0, 0, 123_000, tzinfo=UTC)


class Story:
    """Builds the facts of one correlation; moments are milliseconds from its start."""

    def __init__(self, number: int = 1) -> None:
        self.facts: list[dict[str, Any]] = []
        self._types: dict[str, str] = {}
        self._number = number
        self._messages = 0
        self.correlation = self._new_id()
        self._messages = 0

    def message(
        self,
        type_name: str,
        kind: str = "command",
        *,
        at: float = 0,
        cause: str | None = None,
        handlers: int | None = None,
        **more: Any,
    ) -> str:
        identifier = self._new_id()
        self._types[identifier] = type_name
        takes = {"response": 0, "event": 0}.get(kind, 1) if handlers is None else handlers
        component = more.pop("component", "auth")
        fact = self._fact(identifier, type_name, at, component)
        if cause is not None:
            fact["causationid"] = cause
        fact |= {"bus": "query" if kind == "response" else kind, "component": component, "handlers": takes}
        if kind == "event":
            fact["position"] = more.pop("position", len(self.facts))
        fact["data"] = more.pop("data", {})
        self._tell(fact | more)
        return identifier

    def handled(
        self,
        message: str,
        handler: str,
        *,
        at: float = 0,
        queued: float = 0.1,
        took: float = 1.0,
        outcome: str = "ok",
        attempt: int = 1,
        sent: tuple[str, ...] = (),
        error: dict[str, Any] | None = None,
    ) -> None:
        of_type = self._types.get(message, "Unknown")
        data: dict[str, Any] = {
            "handler": handler,
            "message": of_type,
            "outcome": outcome,
            "attempt": attempt,
            "queued_ms": queued,
            "took_ms": took,
            "sent": list(sent),
        }
        if error is not None:
            data["error"] = error
        self._tell(self._handling("microlith.handled", message, handler, at, data))

    def started(self, message: str, handler: str, *, at: float = 0) -> None:
        of_type = self._types[message]
        self._tell(
            self._handling(
                "microlith.started", message, handler, at, {"handler": handler, "message": of_type, "attempt": 1}
            )
        )

    def _handling(self, kind: str, message: str, handler: str, at: float, data: dict[str, Any]) -> dict[str, Any]:
        fact = self._fact(f"{message}/{handler}", kind, at, handler.partition(".")[0])
        return {**fact, "causationid": message, "data": data}

    def _fact(self, identifier: str, type_name: str, at: float, component: str) -> dict[str, Any]:
        moment = START + timedelta(milliseconds=at)
        return {
            "specversion": "1.0",
            "id": identifier,
            "source": f"/shop/{component}",
            "type": type_name,
            "time": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "correlationid": self.correlation,
        }

    def _tell(self, fact: dict[str, Any]) -> None:
        self.facts.append(fact | {"seq": len(self.facts) + 1})

    def _new_id(self) -> str:
        self._messages += 1
        mixed = (self._number * 0x9E3779B1 + (self._messages - 1) * 0x85EBCA6B) & 0xFFFFFFFF
        return f"019aaaaa-0000-7000-8000-0000{mixed:08x}"


def register_story(number: int = 1) -> Story:
    """A command, its event with three handlers, one of which fails on a command of its own, and a query."""
    story = Story(number)
    register = story.message(
        "RegisterCommand", data={"email": "ann@example.org", "password": "***", "role": "user", "sid": "1234567890"}
    )
    registered = story.message(
        "UserRegisteredEvent",
        "event",
        at=62.3,
        cause=register,
        handlers=3,
        data={
            "email": "ann@example.org",
            "user_id": "7f0c",
            "address": {"city": "Bern", "zip": "3011"},
            "tags": ["a", "b"],
        },
    )
    story.handled(register, "auth.register", at=0.1, queued=0.12, took=62.1, sent=(registered,))
    count = story.message(
        "CountUsersRequest", "query", at=62.9, cause=registered, component="stats", data={"role": "user"}
    )
    counted = story.message(
        "CountUsersResponse", "response", at=64.0, cause=count, component="stats", data={"count": 17}
    )
    story.handled(count, "stats.count_users", at=63.0, queued=0.05, took=0.9, sent=(counted,))
    send = story.message("SendMailCommand", at=65.2, cause=registered, component="mail", data={"to": "ann@example.org"})
    story.handled(registered, "stats.count", at=62.6, queued=0.3, took=2.1, sent=(count,))
    story.handled(registered, "mail.welcome", at=64.9, queued=2.5, took=1.2, sent=(send,))
    refused = {
        "type": "ConnectionRefusedError",
        "message": "[Errno 111] Connection refused",
        "file": "shop/mail/handlers/send.py",
        "line": 31,
        "source": "await server.connect(host, port)",
    }
    story.handled(send, "mail.send", at=65.3, queued=0.1, took=5.5, outcome="failed", error=refused)
    story.handled(send, "mail.send", at=75.9, queued=0.1, took=8.0, outcome="failed", error=refused, attempt=2)
    audited = story.message("UserAuditedEvent", "event", at=66.0, cause=registered, component="audit", data={})
    story.handled(registered, "audit.record", at=65.5, queued=3.0, took=0.4, sent=(audited,))
    return story


def login_story(number: int = 2) -> Story:
    """The smallest story: a command and the event that nobody takes."""
    story = Story(number)
    login = story.message("LoginCommand", data={"email": "ann@example.org", "password": "***", "sid": "1234"})
    logged_in = story.message(
        "UserLoggedInEvent", "event", at=3.3, cause=login, data={"sid": "1234", "user_id": "7f0c"}
    )
    story.handled(login, "auth.login", at=0.1, queued=0.1, took=3.4, sent=(logged_in,))
    return story
