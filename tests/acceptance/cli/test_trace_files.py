"""`microlith trace diff`, `export` and `import`: traces beside one another, and outside the project."""

import json

import pytest

from tests.acceptance.cli.shop import Tool, write_shop
from tests.acceptance.cli.test_trace import LOGIN, dispatched

WRONG = ("dispatch", "LoginCommand", "--email", "eve@example.org", "--sid", "s1", "--password", "right")


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The tool in a project where nothing runs and three logins were sent, the last one by somebody else."""
    tool = Tool(write_shop(tmp_path_factory.mktemp("told") / "shop"))
    for login in (LOGIN, LOGIN, WRONG):
        dispatched(tool, *login, "--wait", "GreetedEvent")
    return tool


def test_two_runs_of_the_same_do_not_differ(told):
    ended = told("trace", "diff", "@-3", "@-2")

    assert (ended.code, ended.out.splitlines()[-1]) == (0, "no difference in 3 messages")


def test_a_changed_payload_is_told_and_ends_with_1(told):
    ended = told("trace", "diff", "@-2", "@last")
    as_json = told("trace", "diff", "@-2", "@last", "--json")

    assert ended.code == as_json.code == 1
    assert "email  ada@example.org → eve@example.org" in ended.out
    assert as_json.lines[0]["changes"][0] == {
        "what": "field",
        "name": "email",
        "before": "ada@example.org",
        "after": "eve@example.org",
    }


def test_an_exported_trace_is_shown_and_compared_like_any_other(told, tmp_path):
    file = tmp_path / "login.jsonl"

    written = told("trace", "export", "@last", str(file), "--redact", "none")

    assert written.code == 0
    assert told("trace", "diff", "@last", str(file)).code == 0
    assert "► LoginCommand → auth.login" in told("trace", str(file)).out
    assert "***" in file.read_text()
    assert "right" not in file.read_text()


def test_values_do_not_leave_the_house_unless_asked_for(told, tmp_path):
    out = told("trace", "export", "@last").out

    assert "eve@example.org" not in out
    assert '"email":"text 1"' in out
    for line in out.splitlines():
        assert json.loads(line)["specversion"] == "1.0"


def test_a_trace_is_imported_once_and_found_by_its_id(told, tmp_path):
    file, other = tmp_path / "login.jsonl", Tool(write_shop(tmp_path / "shop"))
    told("trace", "export", "@last", str(file))
    (fact, *_) = map(json.loads, file.read_text().splitlines())

    first, again = (other("trace", "import", str(file), "--json") for _ in range(2))

    assert first.lines[0]["correlationid"] == fact["correlationid"]
    assert (first.lines[0]["facts"] > 0, again.lines[0]["facts"]) == (True, 0)
    assert "LoginCommand" in other("trace", fact["correlationid"]).out


def test_nothing_is_written_over(told, tmp_path):
    file = tmp_path / "there.jsonl"
    file.write_text("mine")

    refused = told("trace", "export", "@last", str(file))

    assert (refused.code, file.read_text()) == (2, "mine")
    assert told("trace", "export", "@last", str(file), "--force").code == 0


HOSTILE = {
    "empty": b"",
    "not json": b"{\n",
    "no fact": b"[]\n",
    "no id": b'{"type":"A","correlationid":"x"}\n',
    "not utf-8": b'{"id":"\xff","type":"A","correlationid":"x"}\n',
    "two correlations": b'{"id":"1","type":"A","correlationid":"x"}\n{"id":"2","type":"A","correlationid":"y"}\n',
    "deep": b'{"id":"1","type":"A","correlationid":"x","data":' + b"[" * 5000 + b"]" * 5000 + b"}\n",
    "twice": b'{"id":"1","id":"2","type":"A","correlationid":"x"}\n',
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_file_that_is_no_trace_is_refused_and_imports_nothing(told, tmp_path, content):
    file = tmp_path / "bad.jsonl"
    file.write_bytes(content)
    before = told("trace", "--json").out

    for verb in (("trace", "import", str(file)), ("trace", str(file)), ("trace", "diff", "@last", str(file))):
        ended = told(*verb)
        assert ended.code == 1
        assert "holds no trace" in ended.err

    assert told("trace", "--json").out == before


def test_usage_is_explained(told):
    for arguments in (
        ("diff", "@last"),
        ("export",),
        ("import",),
        ("diff", "@last", "@last", "--frob"),
        ("import", "no.jsonl"),
    ):
        ended = told("trace", *arguments)
        assert ended.code == 2
        assert ended.err.startswith("error ")
    assert told("trace", "export", "@last", "--redact", "most").err.startswith("error --redact takes none, values, all")
