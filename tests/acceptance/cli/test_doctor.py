"""`microlith doctor`: what is wrong with a project, and what mends it."""

import sqlite3

import pytest

from tests.acceptance.cli.light import heavy_imports
from tests.acceptance.cli.shop import Tool, start_run


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


def test_it_says_what_runs(attached):
    found = findings(attached)

    assert found["ML004"]["what"].startswith("runs as process ")
    assert "generation 1" in found["ML004"]["what"]


def test_it_makes_nothing_where_nothing_is(tool):
    assert tool("doctor", "--verify").code == 0

    assert not (tool.folder / ".microlith").exists()


def test_checksums_are_verified_beside_a_running_application(attached):
    attached("dispatch", "EchoCommand", "--wait", "EchoedEvent")

    found = findings(attached, "--verify")["ML014"]

    assert (found["level"], found["what"].endswith("events match their checksums")) == ("ok", True)


def test_a_store_at_rest_is_verified_and_not_changed(used):
    store = used.folder / ".microlith" / "events.db"
    before = store.read_bytes()

    found = findings(used, "--verify")

    assert found["ML014"]["what"] == "1 events match their checksums"
    assert store.read_bytes() == before


def test_damage_is_found_with_its_position(used):
    with sqlite3.connect(used.folder / ".microlith" / "events.db") as connection:
        connection.execute("UPDATE events SET data = x'7b7d'")
    connection.close()

    ended = used("doctor", "--verify")

    assert (ended.code, ended.err) == (1, "1 thing to mend\n")
    assert "ML014 error: The event log is damaged at position 0" in ended.out


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
