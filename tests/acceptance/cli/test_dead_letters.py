"""`microlith dead-letters`: looked at, tried again and dropped, with a running application and without one."""

import pytest

from tests.acceptance.cli.shop import Tool, write_shop


def fail(tool: Tool, text: str = "planted") -> str:
    """Let a command fail for good; return its message id."""
    assert tool("dispatch", "FailCommand", "--text", text, "--wait", "NeverEvent").code == 1
    return str(tool("dead-letters", "--json").lines[-1]["id"])


@pytest.fixture
def tidy(either: Tool) -> Tool:
    """The tool in a project without dead letters."""
    assert either("dead-letters", "drop", "--all", "--yes").code == 0
    return either


def mend(tool: Tool) -> None:
    """Correct the handler that fails. For a project where nothing runs."""
    path = tool.folder / "shop/auth/handlers/all.py"
    path.write_text(path.read_text("utf-8").replace("raise ValueError(command.text)", "return None"), "utf-8")


def test_dead_letters_are_listed_the_newest_last(tidy):
    first, second = fail(tidy, "one"), fail(tidy, "two")

    ended = tidy("dead-letters")
    rows = tidy("dead-letters", "--json").lines

    assert ended.code == 0
    assert ended.out.splitlines()[0].split() == ["id", "when", "handler", "message", "attempts", "error"]
    assert [line.split()[0] for line in ended.out.splitlines()[1:]] == [first[-8:], second[-8:]]
    assert [(row["id"], row["error"], row["attempts"]) for row in rows] == [
        (first, "ValueError: one", 1),
        (second, "ValueError: two", 1),
    ]


def test_without_dead_letters_there_is_nothing_to_list(tidy):
    ended = tidy("dead-letters")

    assert (ended.code, ended.out) == (1, "")
    assert "No dead letters." in ended.err


def test_one_is_shown_with_its_payload_and_its_tree(tidy):
    message_id = fail(tidy)

    ended = tidy("dead-letters", "show", message_id[-8:])
    (row,) = tidy("dead-letters", "show", "@last", "--json").lines

    assert ended.code == 0
    assert "FailCommand  " + message_id[-8:] in ended.out
    assert "ValueError: planted" in ended.out
    assert "auth.fail" in ended.out
    assert (row["id"], row["data"]) == (message_id, {"text": "planted"})


def test_retry_that_fails_again_tells_the_new_error(tidy):
    fail(tidy)

    ended = tidy("dead-letters", "retry", "@last")
    (line,) = tidy("dead-letters", "retry", "--all", "--json").lines

    assert ended.code == 1
    assert "failed" in ended.out
    assert "ValueError: planted" in ended.out
    assert (line["outcome"], line["error"]["type"]) == ("failed", "HandlerFailedError")
    assert [row["attempts"] for row in tidy("dead-letters", "--json").lines] == [3]


def test_retry_that_goes_well_ends_the_letter(tool):
    ids = [fail(tool, "one"), fail(tool, "two"), fail(tool, "three")]
    mend(tool)

    one = tool("dead-letters", "retry", ids[1][-8:])
    others = tool("dead-letters", "retry", "--all", "--json")

    assert (one.code, one.out.split()) == (0, [ids[1][-8:], "auth.fail", "FailCommand", "ok"])
    assert others.code == 0
    assert [(line["id"], line["outcome"]) for line in others.lines] == [(ids[0], "ok"), (ids[2], "ok")]
    assert tool("dead-letters").code == 1
    assert tool("trace", ids[1][-8:]).out.count("auth.fail") == 2


def test_retry_that_takes_too_long_is_not_awaited(tool):
    fail(tool)
    path = tool.folder / "shop/auth/handlers/all.py"
    path.write_text(
        path.read_text("utf-8").replace("raise ValueError(command.text)", "await asyncio.sleep(0.7)"), "utf-8"
    )

    ended = tool("dead-letters", "retry", "@last", "--timeout", "100ms")

    assert ended.code == 3
    assert "still running" in ended.out
    assert tool("dead-letters").code == 1  # it went on, and ended well


def test_one_is_dropped_and_the_others_stay(tidy):
    first, second = fail(tidy), fail(tidy)

    ended = tidy("dead-letters", "drop", first, "--yes")

    assert (ended.code, ended.out.split()) == (0, [first[-8:], "auth.fail", "FailCommand", "dropped"])
    assert [row["id"] for row in tidy("dead-letters", "--json").lines] == [second]


def test_dropping_without_a_terminal_needs_a_yes(tidy):
    fail(tidy)

    ended = tidy("dead-letters", "drop", "--all")

    assert ended.code == 2
    assert "--yes" in ended.err
    assert len(tidy("dead-letters", "--json").lines) == 1


@pytest.mark.parametrize("wrong", [("retry",), ("retry", "@last", "--all"), ("drop", "--yes")])
def test_which_one_must_be_said(tidy, wrong):
    assert tidy("dead-letters", *wrong).code == 2


def test_what_means_no_letter_or_several_is_refused(tidy):
    common = fail(tidy)
    fail(tidy)

    nothing = tidy("dead-letters", "show", "zzzz")
    several = tidy("dead-letters", "show", common[:4])

    assert (nothing.code, several.code) == (1, 2)
    assert "is no dead letter; there are 2" in nothing.err
    assert "FailCommand" in several.err


def test_payload_of_a_dead_letter_is_masked(tool):
    path = tool.folder / "shop/auth/handlers/all.py"
    path.write_text(
        path.read_text("utf-8").replace('if command.password.get_secret_value() == "right":', "if 1 / 0:"), "utf-8"
    )
    login = ("--email", "a@b.c", "--sid", "1", "--data", '{"password": "hunter22"}')
    assert tool("dispatch", "LoginCommand", *login, "--wait", "UserLoggedInEvent").code == 1

    shown = tool("dead-letters", "show", "@last")
    (row,) = tool("dead-letters", "show", "@last", "--json").lines

    assert row["data"]["password"] == "***"
    assert "hunter22" not in shown.out + shown.err


def test_parked_ones_name_their_head_and_go_on_after_it(tool):
    path = tool.folder / "shop/auth/handlers/all.py"
    path.write_text(
        path.read_text("utf-8").replace("@auth.handles(FailCommand)", '@auth.handles(FailCommand, key="text")'), "utf-8"
    )
    head, second, third = (fail(tool, "same") for _ in range(3))

    listed = tool("dead-letters").out
    rows = tool("dead-letters", "--json").lines
    refused = tool("dead-letters", "retry", second)
    shown = tool("dead-letters", "show", second).out
    failed = tool("dead-letters", "retry", "--all")
    mend(tool)
    worked = tool("dead-letters", "retry", head)

    assert listed.count(f"parked behind {head[-8:]}") == 2
    assert [(row["attempts"], row.get("behind")) for row in rows] == [(1, None), (0, 1), (0, 1)]
    assert refused.code == 1
    assert f"Dead letter 2 is parked behind dead letter 1 ({head[-8:]})" in refused.err
    assert "behind" in shown
    assert failed.code == 1
    assert [line.split()[3] for line in failed.out.splitlines()] == ["failed", "parked", "parked"]
    assert (worked.code, worked.out.split()[-1]) == (0, "ok")
    assert tool("dead-letters").code == 1, third


def test_list_is_what_the_command_alone_shows(tmp_path):
    tool = Tool(write_shop(tmp_path / "shop"))
    tool("dispatch", "FailCommand", "--wait", "NeverEvent")

    alone, listed = tool("dead-letters", "--json"), tool("dead-letters", "list", "--json")

    assert alone.out == listed.out != ""
    assert tool("dead-letters", "show", "zz").err.splitlines()[-2] == "error 'zz' is no dead letter; there is 1."
