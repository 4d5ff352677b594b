"""`microlith shell` with a script."""

import subprocess
from pathlib import Path

import pytest

LOGIN = "LoginCommand --email a@b.c --password right --sid s1 --wait UserLoggedInEvent\n"


@pytest.fixture(params=[("attached", ()), ("once", ("--once",))], ids=["attached", "once"])
def shell(request):
    kind, options = request.param
    tool = request.getfixturevalue("attached" if kind == "attached" else "tool")
    return lambda *more, stdin, **rest: tool("shell", *options, *more, stdin=stdin, **rest)


def test_lines_are_run_one_after_the_other(shell):
    ended = shell(
        stdin=f"\ufeff# a comment\r\n\r\nmicrolith {LOGIN}dispatch \\\n  CurrentUserRequest --id 7\nlist --components"
    )

    assert (ended.code, ended.out.splitlines()[0].split()[0]) == (0, "UserLoggedInEvent")
    assert "ada@example.org" in ended.out
    assert "auth" in ended.out.splitlines()[-1]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("FailCommand --wait GreetedEvent", 1),
        ("LoginCommand --email a", 2),
        ("frob", 2),
        ("list 'x", 2),
        ("run", 2),
        ("watch type:X", 2),
        ("LoginCommand --email a --sid s --password right --wait NeverEvent --timeout 50ms", 3),
    ],
)
def test_script_stops_at_the_first_failure_with_its_exit_code(shell, line, code):
    ended = shell(stdin=f"list --components\n# x\n{line}\nCurrentUserRequest --id 7\n")

    assert ended.code == code
    assert "CurrentUserResponse" not in ended.out
    assert f"stopped at line 3 with exit code {code}; 1 command before it went well" in ended.err


def test_script_goes_on_where_it_is_told_to(shell):
    ended = shell("--keep-going", stdin="frob\nCurrentUserRequest --id 7\nfrob\n")

    assert ended.code == 2
    assert "CurrentUserResponse" in ended.out
    assert "failed in line 1 with exit code 2" in ended.err
    assert "failed in line 3 with exit code 2" in ended.err


def test_different_failures_are_one_no(shell):
    assert shell("--keep-going", stdin="frob\nFailCommand --wait GreetedEvent\n").code == 1


def test_output_is_json_where_that_is_asked_for(shell):
    ended = shell("--json", stdin=f"{LOGIN}list --components\nfrob\n")

    assert ended.code == 2
    assert [line.get("type", line.get("item")) for line in ended.lines[:2]] == ["UserLoggedInEvent", "component"]
    assert ended.lines[-1]["error"]["type"] == "UnknownNameError"


def test_command_does_not_read_the_script(shell):
    ended = shell("--keep-going", stdin='LoginCommand --data -\n{"email": "a"}\nCurrentUserRequest --id 7\n')

    assert "This JSON is refused" in ended.err
    assert "CurrentUserResponse" in ended.out


def test_settings_of_one_line_do_not_stay(shell):
    ended = shell(stdin="list --components --json\nlist --components\n")

    assert ended.out.count("{") == 1


def test_quit_ends_the_script(shell):
    ended = shell(stdin="list --components\n.quit\nfrob\n")

    assert ended.code == 0


def test_what_is_not_text_is_refused(shell):
    ended = shell(stdin=b"\xff\xfe\n")

    assert ended.code == 2
    assert "not UTF-8" in ended.err


def test_empty_script_does_nothing(shell):
    assert shell(stdin="").code == 0


def test_secret_is_not_asked_for_where_nobody_is(shell):
    ended = shell(stdin="LoginCommand --email a --sid s\n")

    assert ended.code == 2
    assert "password: is required" in ended.err


def test_nothing_is_attached_where_nothing_runs(tool):
    ended = tool("shell", stdin="list\n")

    assert ended.code == 4
    assert "--once runs it in this process" in ended.err
    assert not (tool.folder / ".microlith").exists()


def test_script_keeps_no_history(attached):
    attached("shell", stdin="list\n")

    assert not (Path(attached.folder) / ".microlith" / "shell_history").exists()


@pytest.mark.parametrize(("arguments", "said"), [(["--frob"], "no option"), (["x"], "takes no arguments")])
def test_wrong_arguments_are_refused(tool, arguments, said):
    ended = tool("shell", *arguments)

    assert ended.code == 2
    assert said in ended.err


def test_script_ends_quietly_when_nobody_reads_any_more(attached):
    process = attached.start("shell", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write("list --components\n")
    process.stdin.flush()
    process.stdout.readline()
    process.stdout.close()
    process.stdin.write("list\n" * 3)
    process.stdin.close()

    assert process.wait(40) == 0
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def test_lines_are_answered_as_they_come(attached):
    process = attached.start("shell", "--json")
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    for number in (7, 8):
        process.stdin.write(f"CurrentUserRequest --id {number}\n")
        process.stdin.flush()
        assert "CurrentUserResponse" in process.stdout.readline()
    process.stdin.close()

    assert process.wait(40) == 0
    process.stdout.close()
    process.stderr.close()
