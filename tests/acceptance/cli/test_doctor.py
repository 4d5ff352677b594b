"""`microlith doctor`: what is wrong with a project, and what mends it."""

import json
import os
import pty
import re
import sqlite3
import subprocess
import sys
from contextlib import suppress

import pytest

from microlith_cli.control.client import attach
from microlith_cli.errors import ToolError
from microlith_cli.session import only_reply
from tests.acceptance.cli.light import heavy_imports
from tests.acceptance.cli.savings import write_savings
from tests.acceptance.cli.shop import Tool, start_run, stop, write_shop
from tests.eventually import eventually


def findings(tool: Tool, *arguments: str, **env: str) -> dict[str, dict]:
    return {row["code"]: row for row in tool("doctor", "--json", *arguments, env=env).lines}


@pytest.fixture
def used(tool):
    """A project with a store that holds an event, where nothing runs."""
    assert tool("dispatch", "EchoCommand", "--text", "hello", "--wait", "EchoedEvent").code == 0
    return tool


def test_nothing_is_wrong_with_a_good_project(either):
    ended = either("doctor")

    assert (ended.code, ended.err) == (0, "nothing is wrong\n"), ended.out
    codes = [line.split()[0] for line in ended.out.splitlines()]
    assert {"ML001", "ML002", "ML003", "ML004", "ML005", "ML006", "ML007", "ML010", "ML013"} <= set(codes)
    assert len(codes) == len(set(codes))


def test_findings_go_into_a_file_from_a_terminal(used, tmp_path):
    """As `microlith doctor --json > file`, where progress is drawn on stderr."""
    screen, drawn = pty.openpty()
    command = [sys.executable, "-m", "microlith_cli", "doctor", "--json"]
    try:
        with (tmp_path / "found").open("w") as file:
            ended = subprocess.run(command, cwd=used.folder, stdout=file, stderr=drawn, timeout=60, check=False)
    finally:
        os.close(drawn)
        os.close(screen)

    rows = [json.loads(line) for line in (tmp_path / "found").read_text().splitlines()]
    assert (ended.returncode, rows[0]["code"]) == (0, "ML001")


def test_it_says_what_runs(attached):
    found = findings(attached)

    assert found["ML004"]["what"].startswith("runs as process ")
    assert "generation 1" in found["ML004"]["what"]


@pytest.mark.parametrize(
    ("code", "state", "level", "said"),
    [
        ("import time\ntime.sleep(60)\n", "starting", "note", "shop is starting, or stands by"),
        ("import nothing_of_that_name\n", "broken", "error", "shop runs, and its code does not serve"),
    ],
    ids=["starting", "broken"],
)
async def test_run_that_has_never_served_is_looked_at(tool, code, state, level, said):
    path = tool.folder / "shop" / "app.py"
    path.write_text(code + path.read_text("utf-8"), "utf-8")
    run = tool.start("run", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def status() -> str:
        with suppress(ToolError):
            session = attach(tool.folder / ".microlith")
            if session is not None:
                with session:
                    return str(only_reply(session, {"verb": "status"})["status"]["state"])
        return ""

    try:
        await eventually(lambda: status() == state, seconds=60)
        looked, alive = tool("doctor", "--json"), tool("doctor", "--alive")
    finally:
        run.kill()
        run.wait()

    assert [row["level"] for row in looked.lines if row["code"] == "ML005"] == [level], looked.err
    assert (looked.code, looked.err.count("mistake in microlith")) == (int(level == "error"), 0)
    assert (alive.code, alive.out) == (0, f"{said}\n")


def test_it_makes_nothing_where_nothing_is(tool):
    assert tool("doctor", "--verify").code == 0

    assert not (tool.folder / ".microlith").exists()


def test_checksums_are_verified_beside_a_running_application(attached):
    attached("dispatch", "EchoCommand", "--wait", "EchoedEvent")

    found = findings(attached, "--verify")["ML014"]

    assert (found["level"], "checksum" in found["what"]) == ("ok", True)


def test_a_store_at_rest_is_verified_and_not_changed(used):
    store = used.folder / ".microlith" / "events.db"
    before = store.read_bytes()

    found = findings(used, "--verify")

    assert found["ML014"]["what"] == "1 event matches its checksum"
    assert store.read_bytes() == before


def test_damage_is_found_with_its_position(used):
    with sqlite3.connect(used.folder / ".microlith" / "events.db") as connection:
        connection.execute("UPDATE events SET data = x'7b7d'")
    connection.close()

    ended = used("doctor", "--verify")

    assert (ended.code, ended.err) == (1, "1 thing to mend\n")
    assert "ML014 error: The event log is damaged at position 0" in ended.out


def change(tool: Tool, before: str, after: str, file: str = "commands/all.py") -> None:
    """Change the code of a project, as its author would."""
    path = tool.folder / "shop" / "auth" / file
    text = path.read_text("utf-8")
    assert before in text
    path.write_text(text.replace(before, after), "utf-8")


@pytest.fixture(params=["at rest", "running"])
def looked_at(request, used):
    """Runs `doctor --verify` in a project that was used: where nothing runs, and beside a running application."""
    processes = []

    def look() -> dict[str, dict]:
        if request.param == "running":
            processes.append(start_run(used.folder))
        return findings(used, "--verify")

    yield used, look
    for process in processes:
        process.kill()
        process.wait()


def test_every_event_is_decoded(looked_at):
    _, look = looked_at

    found = look()

    assert (found["ML017"]["level"], found["ML014"]["level"]) == ("ok", "ok")


def test_a_field_without_a_default_is_found_before_its_stream_is_read(looked_at):
    used, look = looked_at
    used("dispatch", "EchoCommand", "--wait", "EchoedEvent")
    change(used, "class EchoedEvent(Event):\n", "class EchoedEvent(Event):\n    color: str\n")
    change(used, "EchoedEvent(**", "EchoedEvent(color='', **", "handlers/all.py")

    found = look()["ML017"]

    assert found["level"] == "error"
    assert found["what"] == (
        "2 events auth.EchoedEvent, stored as version 1, the first at position 0: color: Field required"
    )
    assert found["fix"] == (
        "Give a new field a default; or write `version=2` in `class EchoedEvent(...)` and declare "
        "`@auth.upcasts(EchoedEvent, version=1)`. See one: microlith events show 0"
    )


def test_an_event_that_no_component_declares_is_a_warning_with_two_ways_out(looked_at):
    used, look = looked_at
    for file in ("commands/all.py", "handlers/all.py"):
        change(used, "EchoedEvent", "HeardEvent", file)

    found = look()["ML017"]

    assert (found["level"], "no component declares it any more" in found["what"]) == ("warning", True)
    assert 'formerly=("EchoedEvent",)' in found["fix"]


def test_an_upcaster_that_raises_is_named(used):
    change(used, "class EchoedEvent(Event):", "class EchoedEvent(Event, version=2):")
    (used.folder / "shop/auth/handlers/old.py").write_text(
        "from shop.auth import auth\nfrom shop.auth.commands.all import EchoedEvent\n\n\n"
        "@auth.upcasts(EchoedEvent, version=1)\ndef one(data):\n    return data['planted']\n"
    )

    found = findings(used, "--verify")["ML017"]

    assert "version 1 could not be read through the upcasters: KeyError" in found["what"]
    assert "Correct `@auth.upcasts(EchoedEvent, ...)`" in found["fix"]


def test_an_event_of_a_newer_version_and_a_validator_that_raises_are_named(used):
    change(used, "class EchoedEvent(Event):", "class EchoedEvent(Event, version=2):")
    (used.folder / "shop/auth/handlers/old.py").write_text(
        "from shop.auth import auth\nfrom shop.auth.commands.all import EchoedEvent\n\n\n"
        "@auth.upcasts(EchoedEvent, version=1)\ndef one(data):\n    return data\n"
    )
    used("dispatch", "EchoCommand", "--wait", "EchoedEvent")
    (used.folder / "shop/auth/handlers/old.py").unlink()
    change(
        used,
        "class EchoedEvent(Event, version=2):",
        "class EchoedEvent(Event):\n    @model_validator(mode='before')\n    @classmethod\n    def look(cls, data):\n        raise KeyError('planted')\n",
    )
    change(used, "from pydantic import", "from pydantic import model_validator,")

    told = [row for row in used("doctor", "--verify", "--json").lines if row["code"] == "ML017"]

    assert "KeyError while it was read" in told[0]["what"]
    assert "was stored as version 2; this code knows version 1" in told[1]["what"]
    assert "Run the code that wrote it" in told[1]["fix"]


def test_code_that_does_not_import_decodes_nothing(used):
    change(used, "import asyncio", "import (", "handlers/all.py")

    found = findings(used, "--verify")

    assert (found["ML005"]["level"], found["ML014"]["level"], "ML017" in found) == ("error", "ok", False)


def test_a_snapshot_that_is_of_no_use_is_a_warning(used):
    with sqlite3.connect(used.folder / ".microlith" / "events.db") as connection:
        connection.execute("INSERT INTO snapshots VALUES ('account-1', 'Account', 7, 'f00d', x'7b7d', x'00')")
    connection.close()

    found = findings(used, "--verify")

    assert found["ML014"]["level"] == "ok"
    assert found["ML015"]["level"] == "warning"
    assert "Account of account-1: its bytes do not match their checksum" in found["ML015"]["what"]


def test_a_store_that_another_process_owns_is_not_opened(used):
    process = start_run(used.folder)
    try:
        (used.folder / ".microlith" / "control.sock").unlink()  # as if it were inside another program

        looked, verified = used("doctor"), used("doctor", "--verify")
    finally:
        process.kill()
        process.wait()

    assert looked.code == 0
    assert "ML007 note: " in looked.out
    assert "is owned by process " in looked.out
    assert verified.code == 1
    assert "stop that process" in verified.out


def test_a_socket_that_was_left_is_noted(used):
    process = start_run(used.folder)
    process.kill()
    process.wait()

    found = findings(used)["ML004"]

    assert (found["level"], found["fix"]) == ("note", "microlith run")
    assert found["where"].endswith("control.sock")


def test_dead_letters_and_a_projection_that_stopped_are_wrong(used):
    used("dispatch", "FailCommand")
    projection = used.folder / "shop" / "auth" / "projections" / "echoes.py"
    projection.parent.mkdir()
    projection.write_text(
        "from microlith import ReadModel, Table\nfrom shop.auth import auth\nfrom shop.auth.commands.all import *\n\n\n"
        "class Echo(ReadModel, key='text'):\n    text: str\n\n\n"
        "echoes = auth.projection('echoes', Echo)\n\n\n"
        "@echoes.on(EchoedEvent)\ndef echoed(event: EchoedEvent, table: Table[Echo]) -> None:\n"
        "    raise ValueError('planted')\n"
    )
    (projection.parent / "__init__.py").touch()
    used("dispatch", "EchoCommand", "--wait", "EchoedEvent")

    ended = used("doctor")

    assert (ended.code, ended.err) == (1, "2 things to mend\n")
    assert "ML011 error: auth.echoes stopped before position 0, EchoedEvent: ValueError: planted" in ended.out
    assert "microlith replay projection auth.echoes" in ended.out
    assert "ML012 warning: dead letters: 1; microlith dead-letters" in ended.out


def test_code_that_does_not_import_is_wrong_and_the_rest_is_looked_at(used):
    (used.folder / "shop" / "auth" / "handlers" / "all.py").write_text("import nonsense\n", "utf-8")

    found = findings(used, "--verify")

    assert found["ML005"]["level"] == "error"
    assert "nonsense" in found["ML005"]["what"]
    assert found["ML014"]["level"] == "ok"


def test_what_a_power_cut_may_take_is_noted(tool):
    found = findings(tool, MICROLITH_STORE_URL="sqlite:.microlith/events.db?durability=fast")["ML010"]

    assert (found["level"], found["fix"]) == ("note", "leave out ?durability=fast")


def test_a_folder_that_others_may_write_into_is_wrong_and_left_alone(used):
    (used.folder / ".microlith").chmod(0o777)

    ended = used("doctor")

    assert ended.code == 1
    assert "ML003 error: Other users may write into " in ended.out
    assert "ML007" not in ended.out


def test_where_there_is_no_project_that_is_the_finding(tmp_path):
    ended = Tool(tmp_path)("doctor")

    assert ended.code == 1
    assert "ML002 error: No pyproject.toml with [tool.microlith]" in ended.out


def test_asking_a_running_application_imports_nothing_heavy(attached):
    assert heavy_imports(attached, "doctor", "--verify") == set()


def test_personal_fields_can_be_read_before_and_after_they_are_erased(tmp_path):
    tool = Tool(write_savings(tmp_path / "shop"))
    secrets = ("--pin", "98765", "--owner", "Zanzibar", "--hint", "hush")
    assert tool("dispatch", "OpenCommand", "--account", "a1", *secrets, "--wait", "RemindedEvent").code == 0

    sealed = findings(tool, "--verify")["ML017"]
    assert tool("events", "erase", "a1", "--yes").code == 0
    erased = findings(tool, "--verify")["ML017"]

    assert (sealed["level"], erased["level"]) == ("ok", "ok")


def test_modules_that_are_slow_to_import_are_named_with_what_took_most_of_it(tmp_path, monkeypatch):
    tool = Tool(write_shop(tmp_path / "shop"))
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "heavyweight.py").write_text("import time\ntime.sleep(0.5)\n")
    (tool.folder / "shop" / "auth" / "handlers" / "heavy.py").write_text("import heavyweight\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "foreign"), prepend=os.pathsep)

    resting = findings(tool)["ML020"]
    process = start_run(tool.folder)
    try:
        running = findings(tool)["ML020"]
    finally:
        stop(process)

    for found in (resting, running):
        assert found["level"] == "note"
        assert re.match(r"\d+ modules of the project imported in [\d,]+ ms, and every reload", found["what"])
        assert re.search(r"shop/auth/handlers/heavy\.py [\d,]+ ms, [\d,]+ of them heavyweight", found["what"])
        assert "microlith" not in found["what"]
