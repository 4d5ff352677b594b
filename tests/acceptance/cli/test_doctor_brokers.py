"""`microlith doctor` and brokers: one that is away, that lets nobody in, or that lacks what is needed; beside a run, and at rest."""

import json
from urllib.parse import quote

import pytest

from tests.acceptance.cli.shop import Tool, start_run, stop

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(180)]

QUEUE = "shop.commands.auth.login"


@pytest.fixture
def carried(tool, rabbitmq_url):
    """The shop with its command and event buses on RabbitMQ."""
    _carry(tool, rabbitmq_url)
    return tool


@pytest.fixture
def vhost(rabbitmq_url):
    """The virtual host of this test, as the management API wants it."""
    return quote(rabbitmq_url.rpartition("/")[2], safe="") or "%2F"


def _carry(tool: Tool, url: str) -> None:
    path = tool.folder / "pyproject.toml"
    own = path.read_text("utf-8").partition("[tool.microlith.buses]")[0]
    path.write_text(f'{own}[tool.microlith.buses]\ncommand = "{url}"\nevent = "{url}"\n', "utf-8")


def _look(tool: Tool, **env: str) -> tuple[int, list[dict]]:
    """What is said of brokers, with the exit code."""
    ended = tool("doctor", "--json", env=env)
    return ended.code, [row for row in ended.lines if row["code"] in {"ML021", "ML022"}]


def test_buses_in_memory_are_no_finding(tool):
    assert _look(tool) == (0, [])


def test_broker_that_has_nothing_yet_gets_it_at_the_start(carried, rabbitmq_url):
    code, (reached, missing) = _look(carried)

    assert (code, reached["level"], missing["level"]) == (0, "ok", "note")
    assert "it carries command, event" in reached["what"]
    assert "shop.commands" in missing["what"]
    assert missing["fix"] == "microlith broker setup"
    assert "guest:guest" in rabbitmq_url
    assert "guest" not in json.dumps([reached, missing])


def test_broker_with_all_that_is_needed_is_well_though_nothing_runs(carried):
    assert carried("broker", "setup").code == 0

    code, found = _look(carried)

    assert (code, [row["level"] for row in found]) == (0, ["ok", "ok"])


@pytest.mark.parametrize(
    ("change", "said", "mend"),
    [
        (("guest:guest@", "guest:planted-secret@"), "refused", "Correct the user and the password"),
        (("guest:guest@", "guest:${BROKER_PASSWORD}@"), "BROKER_PASSWORD", "Set BROKER_PASSWORD"),
        (("@127.0.0.1:", "@127.0.0.1:1/x"), "cannot be reached", "Start the broker"),
    ],
)
def test_broker_that_cannot_be_used_is_an_error(tool, rabbitmq_url, change, said, mend):
    _carry(tool, rabbitmq_url.replace(*change))

    code, (found,) = _look(tool)

    assert (code, found["code"], found["level"]) == (1, "ML021", "error")
    assert said in found["what"]
    assert found["fix"].startswith(mend)
    assert "planted-secret" not in json.dumps(found)


def test_queue_that_differs_is_named(carried, rabbitmq, vhost):
    rabbitmq.manage("PUT", f"queues/{vhost}/{QUEUE}", {"durable": True, "arguments": {"x-queue-type": "quorum"}})

    code, found = _look(carried)

    (differs,) = [row for row in found if row["level"] == "error"]
    assert (code, differs["code"]) == (1, "ML022")
    assert QUEUE in differs["what"]
    assert "microlith broker setup --dry-run" in differs["fix"]


def test_queue_that_is_lost_under_a_run_is_a_warning(carried, rabbitmq, vhost):
    process = start_run(carried.folder)
    try:
        assert [row["level"] for row in _look(carried)[1]] == ["ok", "ok"]
        # What nobody takes from: a consumer would have it made again at once.
        rabbitmq.manage("DELETE", f"queues/{vhost}/shop.refused")

        code, (reached, missing) = _look(carried)

        assert (code, reached["level"], missing["level"]) == (1, "ok", "warning")
        assert missing["what"].endswith(": queue shop.refused")
        assert carried("broker", "setup").code == 0
        assert [row["level"] for row in _look(carried)[1]] == ["ok", "ok"]
    finally:
        stop(process)
