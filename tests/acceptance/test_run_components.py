"""`microlith run --component`: two processes of one project over a real broker."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from microlith_cli.control.client import attach
from microlith_cli.errors import ToolError
from microlith_cli.session import only_reply
from tests.eventually import eventually

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(120)]

HEARING = """\
from shop.auth.events.user_registered import UserRegisteredEvent
from shop.mail import mail
from shop.mail.events import WelcomeSentEvent


@mail.handles(UserRegisteredEvent)
async def welcome(event: UserRegisteredEvent) -> WelcomeSentEvent:
    return WelcomeSentEvent(email=event.email)
"""
EVENTS = "from microlith import Event\n\n\nclass WelcomeSentEvent(Event):\n    email: str\n"


def tool(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "microlith_cli", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def shop(tmp_path, rabbitmq_url):
    """The scaffolded shop with a second component, `mail`, and every bus on RabbitMQ."""
    assert tool("new", "app", "shop", cwd=tmp_path).returncode == 0
    folder = tmp_path / "shop"
    assert tool("new", "component", "mail", cwd=folder).returncode == 0
    (folder / "shop" / "mail" / "events" / "__init__.py").write_text(EVENTS, "utf-8")
    (folder / "shop" / "mail" / "handlers" / "welcome.py").write_text(HEARING, "utf-8")
    (folder / "shop" / "mail" / "__init__.py").write_text(
        'from microlith import Component\n\nmail = Component("mail")\n', "utf-8"
    )
    buses = "".join(f'{bus} = "{rabbitmq_url}"\n' for bus in ("command", "query", "event"))
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n[tool.microlith.buses]\n{buses}")
    return folder


@contextmanager
def running(folder: Path, component: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "microlith_cli", "run", "--no-reload", "--component", component]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        try:
            yield run
        finally:
            run.send_signal(signal.SIGINT)
            run.communicate(timeout=20)
    assert run.returncode == 0


async def until_it_serves(folder: Path, component: str) -> None:
    """Wait until a process takes what the broker has for it; events that were sent before are not for it."""

    def serves() -> bool:
        try:
            session = attach(folder / ".microlith" / component)
            if session is None:
                return False
            with session:
                return bool(only_reply(session, {"verb": "status"})["status"]["state"] == "serving")
        except ToolError:  # it may be there and not ready
            return False

    await eventually(serves, seconds=60)


async def test_message_goes_through_two_processes_and_is_waited_for(shop):
    with running(shop, "auth"), running(shop, "mail"):
        await until_it_serves(shop, "auth")
        await until_it_serves(shop, "mail")

        sent = tool(
            *("dispatch", "RegisterCommand", "--email", "a@b.c", "--password", "right"),
            *("--wait", "WelcomeSentEvent", "--timeout", "20s", "--json"),
            cwd=shop,
        )
        events = tool("events", "list", "--json", cwd=shop, MICROLITH_COMPONENT="mail")
        alive = tool("doctor", "--alive", cwd=shop)
    listed = tool("trace", "--json", cwd=shop)
    tree = tool("trace", "@last", cwd=shop)
    facts = tool("trace", "@last", "--json", cwd=shop)
    of_one = tool("trace", "@last", "--json", cwd=shop, MICROLITH_COMPONENT="mail")

    assert (sent.returncode, json.loads(sent.stdout.splitlines()[-1])["data"]) == (0, {"email": "a@b.c"}), sent.stderr
    assert [json.loads(line)["type"] for line in events.stdout.splitlines()] == [
        "UserRegisteredEvent",
        "WelcomeSentEvent",
    ]
    assert alive.stdout == "shop runs: auth\nshop runs: mail\n"
    assert sorted(path.parent.name for path in shop.glob(".microlith/*/events.db")) == ["auth", "mail"]
    (first,) = map(json.loads, listed.stdout.splitlines())
    assert (first["type"], first["outcome"], first["messages"]) == ("RegisterCommand", "ok", 3), facts.stdout
    assert "2 processes" in tree.stdout.splitlines()[0], tree.stdout
    assert all(name in tree.stdout for name in ("auth.register", "mail.welcome", "WelcomeSentEvent"))
    assert {json.loads(line)["process"] for line in facts.stdout.splitlines()} == {"auth", "mail"}
    assert {json.loads(line)["process"] for line in of_one.stdout.splitlines()} == {"mail"}


def test_component_that_is_not_there_is_refused(shop):
    ended = tool("run", "--component", "mial", "--no-reload", "--once", cwd=shop)

    assert ended.returncode != 0
    assert "'mail'" in ended.stderr


def test_name_that_leads_elsewhere_is_refused(shop):
    ended = tool("list", cwd=shop, MICROLITH_COMPONENT="../../x")

    assert ended.returncode == 2
    assert "no name of a component" in ended.stderr
