"""`microlith replay message`: a copy of one recorded message, with a running application and without one."""

import json
from collections.abc import Iterator

import pytest

from tests.acceptance.cli.savings import write_savings
from tests.acceptance.cli.shop import Tool, start_run_of, stop


@pytest.fixture(scope="module", params=["attached", "once"])
def tool(request, tmp_path_factory) -> Iterator[Tool]:
    folder = write_savings(tmp_path_factory.mktemp("message") / "shop")
    process = start_run_of(folder, "BalanceQuery", "--account", "a1") if request.param == "attached" else None
    found = Tool(folder)
    secrets = ("--pin", "98765", "--owner", "Zanzibar", "--hint", "hush")
    assert found("dispatch", "OpenCommand", "--account", "a1", *secrets, "--wait", "RemindedEvent").code == 0
    assert found("dispatch", "DepositCommand", "--account", "a1", "--amount", "5", "--quiet-for", "50ms").code == 0
    yield found
    if process is not None:
        stop(process)


def of_type(tool: Tool, name: str) -> list[dict]:
    return tool("events", "list", "--type", name, "--json").lines


def test_copy_of_an_event_has_ids_of_its_own_and_handlers_react_to_it_again(tool):
    first = of_type(tool, "DepositedEvent")[0]
    noted = len(of_type(tool, "NotedEvent"))

    ended = tool("replay", "message", str(first["position"]), "--yes", "--quiet-for", "50ms")

    copy = of_type(tool, "DepositedEvent")[-1]
    assert ended.code == 0, ended.err
    assert "savings.note" in ended.out
    assert len(of_type(tool, "NotedEvent")) == noted + 1
    assert (copy["data"], json.loads(copy["headers"])) == (first["data"], {"replayof": first["id"]})
    assert copy["correlationid"] == copy["id"] != first["id"]
    assert copy["stream"] == "savings"


def test_secret_and_personal_fields_of_an_event_come_from_the_log(tool):
    first = of_type(tool, "OpenedEvent")[0]

    ended = tool("replay", "message", first["id"], "--yes", "--json")

    copy = tool("events", "show", str(of_type(tool, "OpenedEvent")[-1]["position"]), "--reveal", "--json").lines[0]
    assert ended.code == 0, ended.err
    assert (copy["data"]["account"], copy["data"]["pin"]) == ("a1", "98765")
    assert next(line["type"] for line in ended.lines) == "OpenedEvent"
    assert "98765" not in ended.out + ended.err


def test_copy_of_a_command_needs_what_is_masked_in_the_trace_log(tool):
    command = next(one for one in tool("trace", "--json").lines if one["type"] == "OpenCommand")
    without = tool("replay", "message", command["id"], "--yes", "--account", "a2")
    given = ("--pin", "1", "--owner", "Ada", "--hint", "x", "--account", "a2")

    done = tool("replay", "message", command["id"], "--yes", *given, "--json")
    again = tool("replay", "message", command["id"], "--yes", *given)

    assert (without.code, done.code) == (2, 0), done.err
    assert "owner of the recorded OpenCommand is secret, personal or erased" in without.err
    assert {"OpenCommand", "OpenedEvent"} <= {line["type"] for line in done.lines}
    assert again.code == 1  # as dispatch: a handler failed
    assert "ValueError" in again.out


def test_copy_of_a_query_shows_its_response(tool):
    assert tool("dispatch", "BalanceQuery", "--account", "a1").code == 0
    query = next(one for one in tool("trace", "--json").lines if one["type"] == "BalanceQuery")

    ended = tool("replay", "message", query["id"], "--yes")

    assert ended.code == 0, ended.err
    assert "BalanceResponse" in ended.out


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("0",), 2, "there is no terminal to ask on"),
        (("zzz", "--yes"), 1, "no event of the log, and no command or query"),
        (("1", "--yes"), 2, "a step of the process Saving"),
        (("0", "--yes", "--pni", "1"), 2, "Did you mean 'pin'?"),
        (("0", "--yes", "--once", "--attach"), 2, "exclude each other"),
    ],
)
def test_what_cannot_be_copied_is_refused_and_nothing_is_recorded(tool, arguments, code, told):
    head = tool("events", "list", "--json").lines[-1]["position"]

    ended = tool("replay", "message", *arguments)

    assert (ended.code, ended.out) == (code, "")
    assert told in ended.err
    assert tool("events", "list", "--json").lines[-1]["position"] == head


def test_erased_field_of_an_event_is_given_or_the_copy_is_refused(tmp_path):
    tool = Tool(write_savings(tmp_path / "shop"))
    secrets = ("--pin", "98765", "--owner", "Zanzibar")
    assert tool("dispatch", "OpenCommand", "--account", "a1", *secrets, "--wait", "RemindedEvent").code == 0
    assert tool("events", "erase", "a1", "--yes").code in (0, 1)

    refused = tool("replay", "message", "0", "--yes")
    sent = tool("replay", "message", "0", "--yes", "--owner", "Ada")

    assert (refused.code, sent.code) == (2, 0), sent.err
    assert "owner of the recorded OpenedEvent is secret, personal or erased" in refused.err
