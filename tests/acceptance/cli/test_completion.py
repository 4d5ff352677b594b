"""The answers that completion gives, in the project of a running application; the shells themselves are elsewhere."""

import json
import resource
from pathlib import Path

import pytest

from tests.acceptance.cli.shop import Tool


def complete(tool: Tool, *words: str, shell: str = "plain") -> list[str]:
    return tool("_complete", shell, *words).out.splitlines()


@pytest.mark.parametrize(
    ("words", "candidates"),
    [
        (["dis"], ["dispatch"]),
        (["--col"], ["--color"]),
        (["--color", "a"], ["auto", "always"]),
        (["--color=n"], ["--color=never"]),
        (["trace", "1234abcd", ""], []),
        (["-q", "li"], ["list"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["list", "--m"], ["--messages"]),
        (["new", "com"], ["component", "command"]),
        (["new", "app", "--b"], ["--bare"]),
        (["new", "app", ""], []),
        (["trace", "--f"], ["--follow", "--filter", "--format"]),
        (["trace", "@"], ["@last", "@failed"]),
        (["list", "au"], ["auth"]),
        (["graph", "au"], ["auth"]),
        (["describe", "LoginC"], ["LoginCommand"]),
        (["describe", "LoginCommand", "LoginE"], []),
        (["events", "list", "--type", "LoginE"], ["LoginErrorRaised"]),
        (["new", "projection", "auth.Users", "--on", "UserL"], ["UserLoggedInEvent"]),
        (["dispatch", "LoginC"], ["LoginCommand"]),
        (["dispatch", "CurrentUser"], ["CurrentUserRequest"]),
        (["dispatch", "LoginCommand", "--em"], ["--email"]),
        (["dispatch", "auth.LoginCommand", "--em"], ["--email"]),
        (["dispatch", "LoginCommand", "--email", "a", "--em"], []),
        (["dispatch", "LoginCommand", "--wait", "User"], ["UserLoggedInEvent"]),
        (["dispatch", "LoginCommand", "--fail-on", "LoginE"], ["LoginErrorRaised"]),
        (["dispatch", "EchoCommand", "--address."], ["--address.city", "--address.zip-code"]),
        (["dispatch", "EchoCommand", "--unit", ""], ["kg", "g"]),
        (["dispatch", "EchoCommand", "--unit=k"], ["--unit=kg"]),
        (["dispatch", "EchoCommand", "--text=k"], []),
        (["dispatch", "EchoCommand", "--ac"], ["--active"]),
        (["dispatch", "EchoCommand", "--no-"], ["--no-active"]),
        (["dispatch", "EchoCommand", "--field"], ["--field.timeout"]),
        (["dispatch", "EchoCommand", "--time"], ["--timeout"]),
        (["dispatch", "--da"], ["--data"]),
        (["nonsense", ""], []),
        ([], []),
    ],
)
def test_words_are_completed(attached, words, candidates):
    found = complete(attached, *words)

    assert found == candidates or (words == [] and "dispatch" in found)


def test_folder_of_another_project_is_looked_in(attached, tmp_path):
    assert complete(Tool(tmp_path), "-C", str(attached.folder), "dispatch", "LoginC") == ["LoginCommand"]
    assert complete(Tool(tmp_path), "dispatch", "LoginC") == []


def test_catalog_is_found_from_a_folder_inside(attached):
    assert complete(Tool(attached.folder / "shop" / "auth"), "dispatch", "LoginC") == ["LoginCommand"]


def test_shells_that_show_descriptions_get_them(attached):
    assert complete(attached, "dispatch", "LoginC", shell="fish") == ["LoginCommand\tcommand of auth"]
    assert complete(attached, "dispatch", "LoginCommand", "--em", shell="zsh") == ["--email:text. Who it is"]


@pytest.mark.parametrize(
    "catalog", [b"", b"{", b"[]", b"\xff", b'{"messages": 5}', b'{"messages": [{}]}', b"[" * 100_000]
)
def test_catalog_that_cannot_be_read_completes_nothing(tmp_path, catalog):
    (tmp_path / ".microlith").mkdir()
    (tmp_path / ".microlith" / "catalog.json").write_bytes(catalog)

    assert complete(Tool(tmp_path), "dispatch", "LoginC") == []


def test_projections_are_completed_once_each(tmp_path):
    (tmp_path / ".microlith").mkdir()
    rows = [{"name": "auth.users"}, {"name": "auth.sessions"}]
    (tmp_path / ".microlith" / "catalog.json").write_text(json.dumps({"projections": rows}))

    assert complete(Tool(tmp_path), "replay", "projection", "auth.") == ["auth.users", "auth.sessions"]
    assert complete(Tool(tmp_path), "replay", "projection", "auth.users", "auth.") == ["auth.sessions"]


def test_names_that_a_shell_would_act_on_are_left_out(tmp_path):
    names = ["$(touch planted)", "`id`", "a;b", "a b", "a\nb", "../x", "~root", "LoginCommand", "\x1b[31m"]
    entries = ", ".join(f'{{"type": {json.dumps(name)}, "kind": "command", "component": "c"}}' for name in names)
    (tmp_path / ".microlith").mkdir()
    (tmp_path / ".microlith" / "catalog.json").write_text(f'{{"messages": [{entries}]}}', "utf-8")

    assert complete(Tool(tmp_path), "dispatch", "") == ["LoginCommand"]


@pytest.mark.parametrize(
    ("line", "replaced", "candidates"),
    [
        ("microlith trace @l", "@l", ["@last"]),
        ("microlith trace @l", "l", ["last"]),
        ("microlith dispatch EchoCommand --unit=k", "k", ["kg"]),
        ("microlith dispatch EchoCommand --unit=", "", ["kg", "g"]),
        ("microlith dispatch EchoCommand --unit ", "", ["kg", "g"]),
        ('microlith dispatch EchoCommand --text "a \'b" --un', "--un", ["--unit"]),
        ("microlith dispatch EchoCommand --text a\\ b --un", "--un", ["--unit"]),
        ("microlith dispatch EchoCommand --text 'a b", "a b", []),
        ("microlith", "microlith", ["new", "run", "dispatch"]),
        ("", "", ["new", "run", "dispatch"]),
    ],
)
def test_bash_gets_the_end_of_a_word_that_it_has_taken_apart(attached, line, replaced, candidates):
    assert complete(attached, line, replaced, shell="bash")[:3] == candidates


def trace_of(folder: Path, *facts: dict) -> None:
    (folder / ".microlith").mkdir(exist_ok=True)
    lines = (json.dumps(fact, separators=(",", ":")) + "\n" for fact in facts)
    (folder / ".microlith" / "trace.jsonl").write_text("".join(lines), "utf-8")


def sent(number: int, **more: object) -> dict:
    identifier = f"01a21f6e-49fd-77d8-900a-{number:012x}"
    return {"id": identifier, "type": "Paid", "correlationid": identifier, "bus": "command"} | more


def test_newest_correlations_are_offered_each_once(tmp_path):
    child = sent(99, causationid="x", bus="event", position=5)
    named = sent(98, data={"bus": "query", "causationid": "y"})  # what a payload holds changes nothing
    trace_of(tmp_path, *(sent(number) for number in range(30)), child, named)

    found = complete(Tool(tmp_path), "trace", "0000")

    assert found == ["00000062", *(f"{number:08x}" for number in range(29, 10, -1))]
    assert complete(Tool(tmp_path), "dispatch", "--from", "0000") == found
    assert complete(Tool(tmp_path), "events", "show", "") == ["5"]


def test_torn_and_foreign_lines_of_a_trace_log_complete_nothing(tmp_path):
    (tmp_path / ".microlith").mkdir()
    (tmp_path / ".microlith" / "trace.jsonl").write_bytes(
        b'"id":"01a21f6e-49fd-77d8-900a-000000000001","type":"$(touch planted)","bus":"event","position":1,\n'
        b'\xff\xfe"bus":\n\n{"bus":"event","position":\n"id":"01a21f6e-49fd-77d8-900a-000000000002","bus":"command"'
    )

    assert complete(Tool(tmp_path), "trace", "0") == []
    assert complete(Tool(tmp_path), "events", "show", "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_of_a_shell_is_printed(tmp_path, shell):
    ended = Tool(tmp_path)("completion", shell)

    assert (ended.code, f"_complete {shell}" in ended.out) == (0, True)
    assert Tool(tmp_path)("completion", shell, "--json").lines == [{"shell": shell, "script": ended.out.rstrip("\n")}]


def test_completion_answers_within_its_budget(attached, tmp_path):
    trace_of(tmp_path, *(sent(number, data={"text": "x" * 1000}) for number in range(20_000)))

    # The budget is 40 ms on a quiet machine; twice that here, where others work too.
    fields = min(cpu_seconds(attached, "--email", "dispatch", "LoginCommand", "--em") for _ in range(5))
    ids = min(cpu_seconds(Tool(tmp_path), "00004e1f", "trace", "00004e") for _ in range(5))
    assert max(fields, ids) < 0.08


def cpu_seconds(tool: Tool, first: str, *words: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert complete(tool, *words)[0] == first
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
