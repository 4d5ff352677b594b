"""The tool on a store in PostgreSQL, with a real server: what is done at rest, while it runs, and while the server is away."""

import json
import secrets
from collections.abc import Iterator
from urllib.parse import quote

import psycopg
import pytest

from microlith_cli.errors import NOT_REACHABLE, WRONG_USAGE
from tests.acceptance.cli.savings import write_savings
from tests.acceptance.cli.shop import Ended, Tool, start_run_of, stop
from tests.servers.postgres import Postgres

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(180)]

PASSWORD = "pl@nted/s3cret?&%"
VARIABLE = "SHOP_DATABASE_PASSWORD"
CALLS = (
    ("OpenCommand", "--account", "a1", "--owner", "Zanzibar", "--pin", "98765", "--wait", "RemindedEvent"),
    ("DepositCommand", "--account", "a1", "--amount", "5", "--wait", "NotedEvent"),
    ("DepositCommand", "--account", "a1", "--amount", "7", "--wait", "NotedEvent"),
)


class Project(Tool):
    """A project whose store is a schema of its own, with a password that only the environment knows."""

    said = ""

    def __call__(self, *arguments: str, **more) -> Ended:
        ended = super().__call__(*arguments, **more)
        type(self).said += ended.out + ended.err
        return ended

    def of_type(self, name: str) -> list[dict]:
        return self("events", "list", "--type", name, "--json").lines


@pytest.fixture(scope="module")
def login(postgres: Postgres) -> Iterator[str]:
    """A user with a password that no url takes as it is; gives the server's url for that user, without the password."""
    postgres.start()
    name = f"shop_{secrets.token_hex(4)}"
    with psycopg.connect(postgres.url, autocommit=True) as admin, pytest.MonkeyPatch.context() as environment:
        admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'".encode())
        admin.execute(f"GRANT CREATE ON DATABASE postgres TO {name}".encode())
        environment.setenv(VARIABLE, PASSWORD)
        yield f"postgresql://{name}:${{{VARIABLE}}}@127.0.0.1:{postgres.port}/postgres"
    postgres.start()
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(f"DROP OWNED BY {name} CASCADE".encode())
        admin.execute(f"DROP ROLE {name}".encode())


def project(folder, url: str) -> Project:
    write_savings(folder)
    path = folder / "pyproject.toml"
    path.write_text(path.read_text("utf-8") + f'[tool.microlith.store]\nurl = "{url}"\n', "utf-8")
    return Project(folder)


@pytest.fixture(scope="module")
def filled(login, tmp_path_factory) -> Project:
    """A project with a few events; nothing runs."""
    tool = project(tmp_path_factory.mktemp("postgres") / "shop", f"{login}?schema=shop_{secrets.token_hex(4)}")
    for call in CALLS:
        ended = tool("dispatch", *call)
        assert ended.code == 0, ended.err
    return tool


def findings(tool: Tool, *arguments: str) -> dict[str, dict]:
    return {line["code"]: line for line in tool("doctor", *arguments, "--json").lines if "code" in line}


def test_events_are_listed_and_shown_at_rest(filled):
    listed = filled("events", "list", "--json")
    shown = filled("events", "show", "0", "--json")

    assert listed.code == shown.code == 0, listed.err
    assert [line["position"] for line in listed.lines] == list(range(len(listed.lines)))
    assert shown.lines[0]["type"] == "OpenedEvent"
    assert "Zanzibar" not in listed.out + shown.out


def test_log_is_verified_at_rest(filled):
    ended = filled("events", "verify")

    assert ended.code == 0, ended.err
    assert f"{len(filled('events', 'list', '--json').lines)} events" in ended.out + ended.err


def test_doctor_looks_into_the_database_and_verifies_it(filled):
    events = len(filled("events", "list", "--json").lines)

    found = findings(filled)
    verified = findings(filled, "--verify")

    assert found["ML007"]["level"] == "ok"
    assert f"{events} events" in json.dumps(found["ML007"])
    assert "shop_" in json.dumps(found["ML007"])
    assert f"{events} events match their checksums" in json.dumps(verified["ML014"])
    assert "SQLite" not in json.dumps(list(found.values()))


def test_projections_are_listed_with_where_they_stand(filled):
    rows = {row["name"]: row for row in filled("list", "--projections", "--json").lines}

    assert rows["savings.balances"]["behind"] == 0
    assert rows["savings.balances"]["error"] is None


def test_state_is_replayed_at_rest(filled):
    (line,) = filled("replay", "state", "account-a1", "--json", "--reveal").lines

    assert (line["state"]["balance"], line["state"]["owner"]) == (12, "Zanzibar")


def test_correlation_is_replayed_beside_the_log(filled):
    before = filled("events", "list", "--json").out

    ended = filled("replay", "correlation", filled.of_type("DepositedEvent")[-1]["correlationid"], "--yes")

    assert ended.code == 0, ended.err
    assert "no difference in" in ended.out
    assert filled("events", "list", "--json").out == before


def test_projection_is_replayed_and_a_message_sent_again(filled):
    rebuilt = filled("replay", "projection", "savings.balances")
    noted = len(filled.of_type("NotedEvent"))
    again = filled(
        "replay", "message", str(filled.of_type("DepositedEvent")[0]["position"]), "--yes", "--quiet-for", "50ms"
    )

    assert rebuilt.code == 0, rebuilt.err
    assert again.code == 0, again.err
    assert len(filled.of_type("NotedEvent")) == noted + 1


def test_export_goes_into_another_schema_and_is_the_same_file_again(filled, login, tmp_path):
    other = project(tmp_path / "other", f"{login}?schema=shop_{secrets.token_hex(4)}")
    for tool, name in ((filled, "first"), (other, "second")):
        assert tool("events", "export", str(tmp_path / name), "--reveal").code == 0
        if tool is filled:
            imported = other("events", "import", str(tmp_path / name))
            assert imported.code == 0, imported.err

    assert (tmp_path / "second").read_bytes() == (tmp_path / "first").read_bytes()


def test_running_application_is_asked_and_nobody_else_looks_into_its_schema(filled):
    running = start_run_of(filled.folder, "BalanceQuery", "--account", "a1")
    try:
        found = findings(filled, "--verify")
        beside = Project(filled.folder)("events", "list", "--json", env={"MICROLITH_COMPONENT": "savings"})
    finally:
        code = stop(running)

    assert code == 0
    assert "events" in json.dumps(found["ML007"])
    assert "in memory" not in json.dumps(found["ML007"])
    assert "match their checksums" in json.dumps(found["ML014"])
    assert beside.out == ""  # a component's own schema, which is not there


def test_variable_that_is_not_set_is_named(filled, monkeypatch):
    monkeypatch.delenv(VARIABLE)

    for call in (("events", "list"), ("dispatch", *CALLS[1])):
        ended = filled(*call)

        assert ended.code == WRONG_USAGE
        assert VARIABLE in ended.err


@pytest.fixture
def away(postgres) -> Iterator[None]:
    postgres.kill()
    yield
    postgres.start()


AWAY = (
    ("run",),
    ("run", "--no-reload"),
    ("dispatch", *CALLS[1]),
    ("events", "list"),
)


def test_server_that_is_away_is_named_in_one_line_and_ends_it_with_4(filled, away):
    for call in AWAY:
        ended = filled(*call)

        told = [line for line in ended.err.splitlines() if "cannot be reached" in line]
        assert ended.code == NOT_REACHABLE, (call, ended)
        assert len(told) == 1, (call, ended.err)
        assert ":***@127.0.0.1" in told[0], call
    found = findings(filled)
    assert found["ML007"]["level"] == "error"
    assert "cannot be reached" in json.dumps(found["ML007"])


def test_no_output_of_all_these_holds_the_password():
    assert Project.said
    assert PASSWORD not in Project.said
    assert quote(PASSWORD, safe="") not in Project.said
    assert "s3cret" not in Project.said
