"""`microlith run --component`: two processes of one project over a real broker, and the tool from a third terminal."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.apart import make_shop, running, status, tool, until_it_serves
from tests.eventually import eventually

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(180)]

REGISTER = ("dispatch", "RegisterCommand", "--password", "right", "--timeout", "30s")


@pytest.fixture
def shop(tmp_path, rabbitmq_url):
    return make_shop(tmp_path, rabbitmq_url)


def rows(ended: subprocess.CompletedProcess[str]) -> list[dict]:
    return [json.loads(line) for line in ended.stdout.splitlines()]


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


async def test_third_terminal_sees_both_processes_as_one_application(shop):
    with running(shop, "auth"), running(shop, "mail"):
        await until_it_serves(shop, "auth")
        await until_it_serves(shop, "mail")
        with follow(shop, "type:W*") as follower:
            await eventually(lambda: followers(shop) == [1, 1], seconds=30)
            sent = tool(*REGISTER, "--email", "a@b.c", "--wait", "WelcomeSentEvent", "--json", cwd=shop)
            written = tool("-v", "dispatch", "WriteCommand", "--email", "d@e.f", "--wait", "WrittenEvent", cwd=shop)
            assert follower.stdout is not None
            told = [json.loads(follower.stdout.readline()) for _ in range(3)]
        listed = tool("list", "--json", cwd=shop)
        typed = tool(
            "shell", "--json", cwd=shop, typed="WriteCommand --email g@h.i --wait WrittenEvent\nlist --handlers\n"
        )
        looked = tool("doctor", "--verify", "--json", cwd=shop)
        unnamed = tool("events", "list", cwd=shop)

    assert (sent.returncode, written.returncode, typed.returncode) == (0, 0, 0), (sent, written, typed)
    assert {fact["process"] for fact in told} == {"auth", "mail"}
    assert "accepted WriteCommand" in written.stderr
    assert all(name in written.stderr for name in ("mail.write", "WrittenEvent")), written.stderr
    (in_mail,) = [row for row in rows(tool("trace", "@-2", "--json", cwd=shop)) if row.get("type") == "WriteCommand"][
        :1
    ]
    assert (in_mail["process"], "origin" in in_mail) == ("mail", False)  # it was sent where it is handled
    named = {row["name"]: row for row in rows(listed) if "name" in row}
    assert {"auth.register", "mail.welcome", "mail.write"} <= named.keys()
    assert {row["behind"] for row in named.values() if row["item"] == "projection"} == {0}
    assert next(row.get("data") for row in rows(typed)) == {"email": "g@h.i"}
    assert {"auth.register", "mail.write"} <= {row.get("name") for row in rows(typed)}
    findings = {(row["what"].partition(":")[0], row["code"]): row["level"] for row in rows(looked)}
    assert {findings[name, code] for name in ("auth", "mail") for code in ("ML004", "ML005", "ML014")} == {"ok"}
    of_broker = [(row["code"], row["level"]) for row in rows(looked) if row["code"] in {"ML021", "ML022"}]
    assert of_broker == [("ML021", "ok"), ("ML022", "ok")]  # told once, though both say so
    stores = {row["where"] for row in rows(looked) if row["code"] == "ML007"}
    assert stores == {str(shop / ".microlith" / name / "events.db") for name in ("auth", "mail")}
    assert (unnamed.returncode, "MICROLITH_COMPONENT=auth" in unnamed.stderr) == (2, True)


async def test_dead_letter_is_found_tried_again_and_dropped_in_whichever_process_has_it(shop):
    with running(shop, "auth"), running(shop, "mail"):
        await until_it_serves(shop, "auth")
        await until_it_serves(shop, "mail")
        failed = tool("-v", *REGISTER, "--email", "nobody@b.c", "--wait", "WelcomeSentEvent", cwd=shop)
        again = tool(*REGISTER, "--email", "nobody@d.e", "--wait", "WelcomeSentEvent", cwd=shop)
        letters = tool("dead-letters", "--json", cwd=shop)
        shown = tool("dead-letters", "show", "@last", cwd=shop)
        retried = tool("dead-letters", "retry", "@last", cwd=shop)
        (shop / "mailbox").touch()
        mended = tool("dead-letters", "retry", "@last", cwd=shop)
        dropped = tool("dead-letters", "drop", "--all", "--yes", cwd=shop)
        left = tool("dead-letters", cwd=shop)
    alone = tool("dispatch", "WriteCommand", "--email", "a@b.c", cwd=shop)
    at_rest = tool("events", "list", "--json", cwd=shop, MICROLITH_COMPONENT="mail")

    assert (failed.returncode, again.returncode) == (1, 1), failed.stderr
    assert "there is no such mailbox" in failed.stderr
    assert [(row["process"], row["handler"]) for row in rows(letters)] == [("mail", "mail.welcome")] * 2
    assert all(text in shown.stdout for text in ("mail.welcome", "auth.register", "no such mailbox")), shown.stdout
    assert (retried.returncode, mended.returncode) == (1, 0), (retried.stdout, mended.stdout)
    assert (dropped.returncode, "dropped" in dropped.stdout, left.returncode) == (0, True, 1)
    assert alone.returncode == 4
    assert "auth, mail" in alone.stderr
    assert [row["type"] for row in rows(at_rest)][-1] == "WelcomeSentEvent"


@contextmanager
def follow(shop: Path, filter_text: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "microlith_cli", "trace", "--follow", "--json", "--filter", filter_text]
    with subprocess.Popen(command, cwd=shop, stdout=subprocess.PIPE, text=True) as follower:
        try:
            yield follower
        finally:
            follower.terminate()


def followers(shop):
    return [status(shop, name)["followers"] for name in ("auth", "mail")]


def test_past_of_the_whole_application_is_brought_along_to_a_component(tmp_path):
    assert tool("new", "app", "shop", cwd=tmp_path).returncode == 0
    shop = tmp_path / "shop"
    before = tool(*REGISTER, "--email", "a@b.c", "--wait", "UserRegisteredEvent", cwd=shop)
    exported = tool("events", "export", "past.jsonl", "--reveal", cwd=shop)

    imported = tool("events", "import", "past.jsonl", "--json", cwd=shop, MICROLITH_COMPONENT="auth")

    assert [ended.returncode for ended in (before, exported, imported)] == [0, 0, 0], imported.stderr
    assert json.loads(imported.stdout)["imported"] == 1
    assert (shop / ".microlith" / "auth" / "events.db").exists()
    events = tool("events", "list", "--json", cwd=shop, MICROLITH_COMPONENT="auth")
    assert [row["type"] for row in rows(events)] == ["UserRegisteredEvent"]


@pytest.mark.parametrize("how", ["--once", "--no-reload", ""])
def test_component_that_is_not_there_is_refused_and_leaves_nothing(shop, how):
    ended = tool("run", "--component", "mial", *([how] if how else ()), cwd=shop)

    assert ended.returncode == 2, ended.stderr
    assert "'mail'" in ended.stderr
    assert not (shop / ".microlith" / "mial").exists()


def test_name_that_leads_elsewhere_is_refused(shop):
    ended = tool("list", cwd=shop, MICROLITH_COMPONENT="../../x")

    assert ended.returncode == 2
    assert "no name of a component" in ended.stderr


async def test_component_is_not_run_here_and_in_a_process_of_all(shop):
    with running(shop, "auth"):
        await until_it_serves(shop, "auth")

        whole = tool("run", "--no-reload", cwd=shop)
    with running(shop):
        await until_it_serves(shop)

        apart = [tool("run", "--no-reload", *option, cwd=shop) for option in (("--component", "auth"), ("--all",))]

    assert (whole.returncode, "processes of their own: auth." in whole.stderr) == (1, True), whole.stderr
    assert {(one.returncode, "all components runs already" in one.stderr) for one in apart} == {(1, True)}
