"""The desk: what clients of the control channel may ask, and who answers.

Facts, status, reload and stop are the supervisor's; everything else goes to the worker.

Loads no code, reads no files, runs no shell.
"""

import os
import time
from collections.abc import Callable
from typing import Any

from microlith_cli import VERSION
from microlith_cli.control.connection import Client, Request
from microlith_cli.errors import DONE, SAID_NO
from microlith_cli.project import Project, meant
from microlith_cli.supervisor.supervisor import Supervisor

VERBS = (
    *("dispatch", "describe", "list", "follow", "rebuild", "dead_letters", "retry_dead_letter", "drop_dead_letter"),
    *("events", "event", "schedules", "cancel_schedule", "erase", "brokers"),
    *("store", "verify", "status", "reload", "stop"),
)


class Desk:
    """Answers the clients of one `run`.

    Args:
        project: Whose `run`.
        supervisor: Keeps the worker.
        stop: Begins an orderly end of `run`.
    """

    def __init__(self, project: Project, supervisor: Supervisor, stop: Callable[[], None]) -> None:
        self._project = project
        self._supervisor = supervisor
        self._stop = stop
        self._began = time.monotonic()

    def hello(self) -> dict[str, Any]:
        """What a client is told first."""
        supervisor = self._supervisor
        return {
            "version": VERSION,
            "app": supervisor.card["app"],
            "pid": os.getpid(),
            "generation": supervisor.generation,
            "components": meant(),
            "process": self._project.process,
            "shared": supervisor.shared,
            "leads": supervisor.leads,
        }

    async def handle(self, client: Client, request: Request) -> None:
        """Answer one request, or see to it that it is answered."""
        number = request["id"]

        def reply(line: dict[str, Any]) -> None:
            client.send({"id": number, **line})

        match request["verb"]:
            case "status":
                reply({"status": self.status(), "end": True, "exit": DONE})
            case "follow":
                self._follow(client, request, reply)
            case "reload":
                fact = await self._supervisor.reload()
                failed = fact["type"] == "microlith.failed_reload"
                reply({"fact": fact, "end": True, "exit": SAID_NO if failed else DONE})
            case "stop":
                reply({"stopping": True, "end": True, "exit": DONE})
                self._stop()
            case _:
                key = _key(client, request)
                self._supervisor.forwarding.ask(key, request, reply)
                client.on_close(lambda: self._supervisor.forwarding.cancel(key))

    def status(self) -> dict[str, Any]:
        """Where `run` stands."""
        supervisor = self._supervisor
        return {
            **supervisor.card,
            "project": str(self._project.root),
            "process": self._project.process,
            "shared": supervisor.shared,
            "leads": supervisor.leads,
            "state": supervisor.state,
            "pid": os.getpid(),
            "worker_pid": supervisor.worker_pid,
            "generation": supervisor.generation,
            "running_s": round(time.monotonic() - self._began, 1),
            "requests": len(supervisor.forwarding),
            "followers": len(supervisor.followers),
            "error": supervisor.trouble,
        }

    def _follow(self, client: Client, request: Request, reply: Callable[[dict[str, Any]], None]) -> None:
        key = _key(client, request)
        self._supervisor.followers.add(key, request.get("filter", ""), lambda fact: reply({"fact": fact}))
        client.on_close(lambda: self._supervisor.followers.remove(key))


def _key(client: Client, request: Request) -> str:
    return f"{client.number}.{request['id']}"
