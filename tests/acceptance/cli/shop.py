"""A project on disk for the tool to work on, and the tool itself, as a process of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PYPROJECT = """
[project]
name = "shop"
dependencies = ["some-missing-client>=1"]
[tool.microlith]
app = "shop.app:app"
"""
APP = """
from microlith import Microlith

app = Microlith("shop", components="shop")
"""
MESSAGES = '''
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, Field, SecretStr

from microlith import Command, Event, Query, Response


class LoginCommand(Command):
    """Log a user in."""

    email: str = Field(description="Who it is.")
    password: SecretStr
    sid: str


class UserLoggedInEvent(Event):
    sid: str
    user_id: str


class LoginErrorRaised(Event):
    email: str
    sid: str
    errors: list[Literal["no_user_found", "invalid_password"]]


class GreetedEvent(Event):
    user_id: str


class NeverEvent(Event):
    pass


class CurrentUserResponse(Response):
    email: str | None
    api_key: SecretStr = SecretStr("key-planted")


class CurrentUserRequest(Query[CurrentUserResponse]):
    id: int


class FailCommand(Command):
    text: str = "planted"


class SlowCommand(Command):
    seconds: float


class SlowDoneEvent(Event):
    pass


class Address(BaseModel):
    city: str
    zip_code: str = ""


class EchoCommand(Command):
    text: str = ""
    address: Address | None = None
    tags: list[str] = []
    count: int = 0
    price: Decimal = Decimal(0)
    active: bool = True
    unit: Literal["kg", "g"] = "kg"
    timeout: int = 0


class EchoedEvent(Event):
    text: str
    address: Address | None
    tags: list[str]
    count: int
    price: Decimal
    active: bool
    unit: str
    timeout: int
'''
HANDLERS = """
import asyncio

from shop.auth import auth
from shop.auth.commands.all import *


@auth.handles(LoginCommand)
async def login(command: LoginCommand) -> UserLoggedInEvent | LoginErrorRaised:
    if command.password.get_secret_value() == "right":
        return UserLoggedInEvent(sid=command.sid, user_id="7")
    return LoginErrorRaised(email=command.email, sid=command.sid, errors=["invalid_password"])


@auth.handles(UserLoggedInEvent)
async def greet(event: UserLoggedInEvent) -> GreetedEvent:
    return GreetedEvent(user_id=event.user_id)


@auth.handles(CurrentUserRequest)
async def current_user(query: CurrentUserRequest) -> CurrentUserResponse:
    return CurrentUserResponse(email="ada@example.org" if query.id == 7 else None)


@auth.handles(FailCommand)
async def fail(command: FailCommand) -> None:
    raise ValueError(command.text)


@auth.handles(SlowCommand)
async def slow(command: SlowCommand) -> SlowDoneEvent:
    await asyncio.sleep(command.seconds)
    return SlowDoneEvent()


@auth.handles(EchoCommand)
async def echo(command: EchoCommand) -> EchoedEvent:
    return EchoedEvent(**command.model_dump())
"""


def write_shop(root: Path) -> Path:
    """Write the project into a folder; returns the folder."""
    files = {
        "pyproject.toml": PYPROJECT,
        "shop/__init__.py": "",
        "shop/app.py": APP,
        "shop/auth/__init__.py": 'from microlith import Component\n\nauth = Component("auth")\n',
        "shop/auth/commands/__init__.py": "",
        "shop/auth/commands/all.py": MESSAGES,
        "shop/auth/handlers/__init__.py": "",
        "shop/auth/handlers/all.py": HANDLERS,
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return root


@dataclass(frozen=True)
class Ended:
    """How a run of the tool ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Its output as JSON, one object a line."""
        return [json.loads(line) for line in self.out.splitlines()]


class Tool:
    """Runs `microlith` in a folder, each time as a process of its own."""

    command = (sys.executable, "-m", "microlith_cli")

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str, stdin: str | bytes = "", env: Mapping[str, str] | None = None) -> Ended:
        """Run to the end."""
        given = stdin.encode() if isinstance(stdin, str) else stdin
        ended = subprocess.run(
            [*self.command, *arguments],
            cwd=self.folder,
            input=given,
            capture_output=True,
            env={**environment(), **(env or {})},
            timeout=30,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())

    def start(self, *arguments: str, **more: Any) -> subprocess.Popen[str]:
        """Run beside the test."""
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(
            [*self.command, *arguments], cwd=self.folder, text=True, env=environment(), **{**pipes, **more}
        )


def environment() -> dict[str, str]:
    """The environment without what changes the tool's behaviour."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MICROLITH_", "FORCE_COLOR"))}
    return {**kept, "COLUMNS": "80", "TERM": "dumb"}


def start_run(folder: Path) -> subprocess.Popen[str]:
    """Start `microlith run` of the shop and wait until it serves."""
    return start_run_of(folder, "CurrentUserRequest", "--id", "1")


def start_run_of(folder: Path, *query: str) -> subprocess.Popen[str]:
    """Start `microlith run` of any project and wait until it answers a query."""
    tool = Tool(folder)
    process = tool.start("run", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while tool("dispatch", *query, "--attach").code != 0:
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise AssertionError("`microlith run` did not come to serve.")
        time.sleep(0.05)
    return process


def stop(process: subprocess.Popen[str]) -> int:
    """End a process in good order; returns its exit code."""
    process.terminate()
    try:
        return process.wait(40)
    finally:
        process.kill()
        process.wait()
