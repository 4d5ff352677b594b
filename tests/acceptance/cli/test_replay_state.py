"""`microlith replay state`: what a stream folds to with today's code, with a running application and without one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.cli.savings import write_savings
from tests.acceptance.cli.shop import Tool, start_run_of, stop

OPEN = ("dispatch", "OpenCommand", "--account", "a1", "--owner", "Zanzibar", "--pin", "98765", "--wait", "OpenedEvent")


def deposit(amount: int) -> tuple[str, ...]:
    return ("dispatch", "DepositCommand", "--account", "a1", "--amount", str(amount), "--wait", "NotedEvent")


@pytest.fixture(scope="module", params=["attached", "resting"])
def tool(request, tmp_path_factory) -> Iterator[Tool]:
    folder = write_savings(tmp_path_factory.mktemp("state") / "shop")
    process = start_run_of(folder, "BalanceQuery", "--account", "a1") if request.param == "attached" else None
    found = Tool(folder)
    for call in (OPEN, deposit(5), deposit(7)):
        assert found(*call).code == 0
    yield found
    if process is not None:
        stop(process)


def test_state_of_an_aggregate_is_shown_with_secret_and_personal_values_masked_wherever_they_stand(tool):
    shown = tool("replay", "state", "account-a1", "--json")

    (line,) = shown.lines
    assert (shown.code, line["name"], line["kind"], line["streamposition"]) == (0, "savings.Account", "aggregate", 2)
    masked = {"owner": "***", "shown": "account of ***", "pin": "***", "balance": 12, "history": [5, 7]}
    assert line["state"] == masked
    assert "Zanzibar" not in shown.out + tool("replay", "state", "account-a1", "--steps").out


def test_reveal_shows_them(tool):
    (line,) = tool("replay", "state", "account-a1", "--json", "--reveal").lines

    assert [line["state"][name] for name in ("owner", "shown", "pin")] == ["Zanzibar", "account of Zanzibar", "98765"]


@pytest.mark.parametrize(
    ("at", "balance"), [("0", 0), ("1", 5), ("2", 12), ("@last", 12), ("@-1", 12), ("@-2", 5), ("@-3", 0)]
)
def test_state_at_a_position_is_what_it_was_after_that_event(tool, at, balance):
    (line,) = tool("replay", "state", "account-a1", "--at", at, "--json").lines

    assert line["state"]["balance"] == balance


def test_steps_tell_each_event_and_what_it_changed(tool):
    *steps, last = tool("replay", "state", "account-a1", "--steps", "--json").lines

    assert [step["type"] for step in steps] == ["OpenedEvent", "DepositedEvent", "DepositedEvent"]
    assert steps[1]["changes"] == [{"name": "balance", "before": 0, "after": 5}, {"name": "history[0]", "after": 5}]
    assert last["item"] == "state"


def test_state_of_a_process_is_that_of_its_newest_step(tool):
    (line,) = tool("replay", "state", "process-Saving-a1", "--json").lines

    assert (line["name"], line["kind"], line["state"]) == ("savings.Saving", "process", {"deposits": 2})


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("account-a2",), 1, "Did you mean 'account-a1'?"),
        (("savings",), 1, "account-{account}"),
        (("account-a1", "--at", "3"), 1, "goes from 0 to 2"),
        (("account-a1", "--at", "soon"), 2, "--at takes"),
        (("account-a1", "--as", "Other"), 2, "savings.Account may"),
    ],
)
def test_what_has_no_state_is_refused_and_told(tool, arguments, code, told):
    ended = tool("replay", "state", *arguments)

    assert (ended.code, ended.out) == (code, "")
    assert told in ended.err


def test_code_of_today_folds_and_an_event_it_cannot_take_is_named(tmp_path: Path):
    tool = Tool(write_savings(tmp_path / "shop"))
    for call in (OPEN, deposit(5), deposit(7)):
        assert tool(*call).code == 0
    log = (tool.folder / ".microlith/events.db").read_bytes()
    file = tool.folder / "shop/savings/aggregates/all.py"
    code = file.read_text("utf-8")

    file.write_text(code.replace("self.balance += event.amount", "self.balance += 10 * event.amount"), "utf-8")
    (doubled,) = tool("replay", "state", "account-a1", "--json").lines
    file.write_text(code.replace("self.balance += event.amount", "self.balance += 5 // (event.amount - 7)"), "utf-8")
    broken = tool("replay", "state", "account-a1")

    assert doubled["state"]["balance"] == 120
    assert broken.code == 1
    assert "DepositedEvent at stream position 2" in broken.err
    assert "shop/savings/aggregates/all.py" in broken.err
    assert "ZeroDivisionError" in broken.err
    assert (tool.folder / ".microlith/events.db").read_bytes() == log
