"""A project of two components with every bus on RabbitMQ, and processes of it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from microlith_cli.control.client import attach
from microlith_cli.errors import NothingRunsError, ToolError
from microlith_cli.session import only_reply
from tests.eventually import eventually

HEARING = """\
from pathlib import Path

from shop.auth.events.user_registered import UserRegisteredEvent
from shop.mail import mail
from shop.mail.commands import WriteCommand
from shop.mail.events import WelcomeSentEvent, WrittenEvent


@mail.handles(UserRegisteredEvent)
async def welcome(event: UserRegisteredEvent) -> WelcomeSentEvent:
    if event.email.startswith("nobody@") and not Path("mailbox").exists():
        raise ValueError("there is no such mailbox")
    return WelcomeSentEvent(email=event.email)


@mail.handles(WriteCommand)
async def write(command: WriteCommand) -> WrittenEvent:
    return WrittenEvent(email=command.email)
"""
COMMANDS = "from microlith import Command\n\n\nclass WriteCommand(Command):\n    email: str\n"
EVENTS = "from microlith import Event\n\n\nclass WelcomeSentEvent(Event):\n    email: str\n\n\nclass WrittenEvent(Event):\n    email: str\n"


def tool(*arguments: str, cwd: Path, typed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "microlith_cli", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def make_shop(tmp_path: Path, rabbitmq_url: str) -> Path:
    """The scaffolded shop with a second component, `mail`, and every bus on RabbitMQ."""
    assert tool("new", "app", "shop", cwd=tmp_path).returncode == 0
    folder = tmp_path / "shop"
    assert tool("new", "component", "mail", cwd=folder).returncode == 0
    (folder / "shop" / "mail" / "events" / "__init__.py").write_text(EVENTS, "utf-8")
    (folder / "shop" / "mail" / "commands" / "__init__.py").write_text(COMMANDS, "utf-8")
    (folder / "shop" / "mail" / "handlers" / "welcome.py").write_text(HEARING, "utf-8")
    (folder / "shop" / "mail" / "__init__.py").write_text(
        'from microlith import Component\n\nmail = Component("mail")\n', "utf-8"
    )
    buses = "".join(f'{bus} = "{rabbitmq_url}"\n' for bus in ("command", "query", "event"))
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n[tool.microlith.buses]\n{buses}")
    return folder


@contextmanager
def running(folder: Path, component: str = "") -> Iterator[subprocess.Popen[str]]:
    """Run one component, or all in one process."""
    chosen = ["--component", component] if component else []
    command = [sys.executable, "-m", "microlith_cli", "run", "--no-reload", *chosen]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        try:
            yield run
        finally:
            run.send_signal(signal.SIGINT)
            run.communicate(timeout=60)
    assert run.returncode == 0


async def until_it_serves(folder: Path, component: str = "") -> None:
    """Wait until a process takes what the broker has for it; events that were sent before are not for it."""

    def serves() -> bool:
        try:
            return bool(status(folder, component)["state"] == "serving")
        except ToolError:  # it may be there and not ready
            return False

    await eventually(serves, seconds=60)


def status(folder: Path, component: str) -> dict[str, Any]:
    """What a process says of itself.

    Raises:
        NothingRunsError: It is not there.
    """
    session = attach(folder / ".microlith" / component)
    if session is None:
        raise NothingRunsError(f"{component} does not run")
    with session:
        found: dict[str, Any] = only_reply(session, {"verb": "status"})["status"]
        return found
