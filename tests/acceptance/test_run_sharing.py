"""Two processes of one component on one PostgreSQL store, over a real broker, and the tool from a third terminal."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from microlith_cli.control.client import attach
from microlith_cli.errors import ToolError
from tests.acceptance.apart import make_shop, running, status, tool, until_it_serves
from tests.eventually import eventually

pytestmark = [pytest.mark.rabbitmq, pytest.mark.postgres, pytest.mark.timeout(240)]

REGISTER = ("dispatch", "RegisterCommand", "--password", "right", "--timeout", "30s", "--json")
REGISTERED = (*REGISTER, "--wait", "UserRegisteredEvent")


@pytest.fixture
def shop(tmp_path, rabbitmq_url, postgres_url):
    folder = make_shop(tmp_path, f"{rabbitmq_url}?shared=yes")
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(f'\n[tool.microlith.store]\nurl = "{postgres_url}?shared=yes"\n')
    return folder


def rows(ended: subprocess.CompletedProcess[str]) -> list[dict]:
    return [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]


def leads(shop: Path, name: str) -> bool:
    try:
        return bool(status(shop, name)["leads"])
    except ToolError:  # it begins or ends
        return False


def refusal(shop: Path, name: str) -> dict:
    """What a process answers that is asked to build a projection anew."""
    session = attach(shop / ".microlith" / name)
    assert session is not None
    with session:
        *_, last = session.request({"verb": "rebuild", "projections": None}, patience=30)
        return last


def state(shop: Path, name: str) -> str:
    try:
        return str(status(shop, name)["state"])
    except ToolError:  # it begins or ends
        return ""


async def test_two_processes_of_one_component_are_one_to_the_tool(shop):
    with running(shop, "auth") as first, running(shop, "mail"):
        await until_it_serves(shop, "auth")
        await until_it_serves(shop, "mail")
        with running(shop, "auth"):
            await until_it_serves(shop, "auth.2")
            standing = {name: (status(shop, name)["shared"], leads(shop, name)) for name in ("auth", "auth.2", "mail")}
            sent = [tool(*REGISTERED, "--email", f"a{at}@b.c", cwd=shop) for at in range(2)]
            failed = tool(*REGISTER, "--email", "nobody@b.c", "--wait", "WelcomeSentEvent", cwd=shop)
            letters = tool("dead-letters", "--json", cwd=shop)
            events = tool("events", "list", "--json", cwd=shop, MICROLITH_COMPONENT="auth")
            listed = tool("list", "--components", "--projections", "--json", cwd=shop)
            looked = tool("doctor", "--json", cwd=shop)
            alive = tool("doctor", "--alive", cwd=shop)
            refused, leader = refusal(shop, "auth.2"), status(shop, "auth")["worker_pid"]
            rebuilt = tool("replay", "projection", "auth.users", "--json", cwd=shop, MICROLITH_COMPONENT="auth")

            first.send_signal(signal.SIGINT)
            await eventually(lambda: leads(shop, "auth.2"), seconds=60)
            later = tool(*REGISTERED, "--email", "z@b.c", cwd=shop)
            with running(shop, "auth"):
                await until_it_serves(shop, "auth")
                again = {name: leads(shop, name) for name in ("auth", "auth.2")}
    tree = tool("trace", "@last", "--json", cwd=shop)

    assert standing == {"auth": (True, True), "auth.2": (True, False), "mail": (True, True)}
    assert [one.returncode for one in sent] == [0, 0], [one.stderr for one in sent]
    assert failed.returncode == 1, failed.stderr
    assert [(row["process"], row["handler"]) for row in rows(letters)] == [("mail", "mail.welcome")]
    assert [row["type"] for row in rows(events)] == ["UserRegisteredEvent"] * 3
    assert {row["name"]: row.get("processes") for row in rows(listed) if row["item"] == "component"} == {
        "auth": [{"name": "auth", "leads": True}, {"name": "auth.2", "leads": False}],
        "mail": [{"name": "mail", "leads": True}],
    }
    assert {row["behind"] for row in rows(listed) if row["item"] == "projection"} == {0}
    told = [row["what"] for row in rows(looked) if row["code"] == "ML004"]
    assert [what.partition(":")[0] for what in told] == ["auth", "auth.2", "mail"]
    assert [what.endswith("leads the store it shares") for what in told] == [True, False, True]
    assert [row["what"].partition(":")[0] for row in rows(looked) if row["code"] == "ML012"] == ["auth", "mail"]
    assert alive.stdout.splitlines()[:2] == [
        "shop runs: auth, leads the store it shares",
        "shop runs: auth, shares the store that another process leads",
    ]
    assert f"process {leader} on " in refused["error"]["message"]
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert later.returncode == 0, later.stderr
    assert again == {"auth": False, "auth.2": True}
    assert {"auth.register", "RegisterCommand"} <= {
        str(row.get("data", {}).get("handler", row.get("type"))) for row in rows(tree)
    }


@contextmanager
def running_whole(shop: Path, out: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the whole application; gives a process that is killed at the end, if it still runs."""
    command = [sys.executable, "-m", "microlith_cli", "run", "--no-reload", "--json"]
    with out.open("w") as file, subprocess.Popen(command, cwd=shop, stdout=file, text=True) as run:
        try:
            yield run
        finally:
            run.kill()


async def test_the_whole_application_runs_several_times_and_another_one_leads_when_the_first_is_killed(shop):
    told = shop / "told.jsonl"
    with running_whole(shop, shop / "first.jsonl") as first:
        await until_it_serves(shop)
        with running_whole(shop, told) as second:
            await until_it_serves(shop, "2")
            beside = tool(*REGISTERED, "--once", "--email", "a@b.c", cwd=shop)
            apart = tool("run", "--component", "auth", "--no-reload", cwd=shop)

            first.kill()
            at_once = tool(*REGISTERED, "--email", "b@b.c", cwd=shop)
            await eventually(lambda: leads(shop, "2"), seconds=60)
            later = tool(*REGISTER, "--email", "c@b.c", "--wait", "WelcomeSentEvent", cwd=shop)
            second.terminate()
            code = second.wait(60)

    assert (beside.returncode, at_once.returncode, later.returncode) == (0, 0, 0), (beside, at_once, later)
    assert (apart.returncode, "all components runs already" in apart.stderr) == (1, True)
    assert sorted(path.parent.name for path in shop.glob(".microlith/**/control.lock")) == [".microlith", "2", "3"]
    facts = [json.loads(line) for line in told.read_text().splitlines()]
    assert [fact["data"] for fact in facts if fact.get("type") == "microlith.lead"] == [
        {"process": "shop.2", "leads": True}
    ]
    assert code == 0


async def test_dispatch_is_answered_by_another_process_when_the_leader_stops(shop):
    with running(shop, "auth") as first, running(shop, "auth"):
        await until_it_serves(shop, "auth")
        await until_it_serves(shop, "auth.2")
        sending = [sent(shop, f"{at}@b.c") for at in range(2)]
        first.send_signal(signal.SIGINT)
        sending += [sent(shop, f"{at}@b.c") for at in range(2, 6)]
        ended = [(one.communicate(timeout=90), one.returncode) for one in sending]

    assert [code for _, code in ended] == [0] * 6, ended


def sent(shop: Path, email: str) -> subprocess.Popen[bytes]:
    """Begin to register somebody."""
    command = [sys.executable, "-m", "microlith_cli", *REGISTERED, "--email", email]
    return subprocess.Popen(command, cwd=shop, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


async def test_process_whose_store_writes_no_more_is_started_again(shop, postgres_url):
    with running(shop, "auth"):
        await until_it_serves(shop, "auth")
        served = status(shop, "auth")["worker_pid"]
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            schema = admin.execute("SELECT nspname::text FROM pg_namespace WHERE nspname LIKE '%auth'").fetchall()[0][0]
            admin.execute(f'UPDATE "{schema}".log_end SET epoch = epoch + 1')  # as one that takes over does it
        tool(*REGISTER, "--email", "a@b.c", cwd=shop)
        await eventually(lambda: another_serves(shop, served), seconds=60)
        await until_it_serves(shop, "auth")
        sent = tool(*REGISTERED, "--email", "b@b.c", cwd=shop)

    assert sent.returncode == 0, sent.stderr


def another_serves(shop: Path, pid: int) -> bool:
    try:
        found = status(shop, "auth")
    except ToolError:  # it begins or ends
        return False
    return found["worker_pid"] not in {None, pid} and bool(found["leads"])


async def test_without_shared_the_second_is_refused_and_makes_nothing(shop):
    path = shop / "pyproject.toml"
    before, _, after = path.read_text("utf-8").rpartition("?shared=yes")  # the last one is the store's
    path.write_text(before + after, "utf-8")
    with running(shop, "auth"):
        await until_it_serves(shop, "auth")

        refused = tool("run", "--component", "auth", "--no-reload", cwd=shop)

    assert (refused.returncode, "auth of shop is already running" in refused.stderr) == (1, True), refused.stderr
    assert [path.name for path in (shop / ".microlith").iterdir() if path.is_dir()] == ["auth"]


async def test_newer_version_stands_by_and_is_looked_at_until_it_leads(shop):
    with running(shop, "auth") as older:
        await until_it_serves(shop, "auth")
        event = shop / "shop" / "auth" / "events" / "user_named.py"
        event.write_text("from microlith import Event\n\n\nclass UserNamedEvent(Event):\n    name: str\n", "utf-8")
        with running(shop, "auth"):
            await eventually(lambda: state(shop, "auth.2") == "starting", seconds=60)
            waiting = tool("doctor", "--json", cwd=shop)
            alive = tool("doctor", "--alive", cwd=shop)
            meanwhile = tool(*REGISTERED, "--email", "a@b.c", cwd=shop)

            older.send_signal(signal.SIGINT)
            await eventually(lambda: leads(shop, "auth.2"), seconds=60)
            later = tool(*REGISTERED, "--email", "b@b.c", cwd=shop)

    levels = {row["what"].partition(":")[0]: row["level"] for row in rows(waiting) if row["code"] == "ML005"}
    assert levels == {"auth": "ok", "auth.2": "note"}, waiting.stdout
    assert alive.stdout.splitlines() == [
        "shop runs: auth, leads the store it shares",
        "shop is starting, or stands by: auth, shares the store that another process leads",
    ]
    assert (meanwhile.returncode, later.returncode) == (0, 0), (meanwhile.stderr, later.stderr)
