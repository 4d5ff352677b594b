"""The frame around the commands: what stands before them, what stands nowhere, and how each ends."""

import json
import os
import re
import subprocess
import sys
from importlib import import_module

import pytest
import tomli

from microlith_cli import VERSION
from microlith_cli.commands import GLOBAL_OPTIONS, HELP, TABLE, WORDS
from microlith_cli.commands.completion import SCRIPTS
from microlith_cli.commands.dispatch import wish
from tests.acceptance.cli.shop import Tool
from tests.meta.tree import ROOT


@pytest.fixture
def tool(tmp_path):
    return Tool(tmp_path)


def test_help_lists_the_table_of_commands():
    listed = re.findall(r"^  ([a-z-]+) +(\S.*)$", HELP.partition("Commands:\n")[2], re.MULTILINE)

    assert listed == [(name, said) for name, said, _ in TABLE]


def test_help_lists_the_global_options():
    listed = re.findall(r"(?<=[ ,])--?[A-Za-z]+", HELP.partition("Options:\n")[2].partition("Commands:")[0])

    assert set(listed) == set(GLOBAL_OPTIONS)


@pytest.mark.parametrize(("name", "target"), [(name, target) for name, _, target in TABLE])
def test_command_is_where_the_table_says(name, target):
    module, _, attribute = target.partition(":")

    # A bench is a way to dispatch, and shares its parts. The shell runs the commands, and stands above them.
    place = "dispatch.bench" if name == "bench" else name.replace("-", "_")
    assert module == ("microlith_cli.shell" if name == "shell" else f"microlith_cli.commands.{place}")
    assert getattr(import_module(module), attribute) is not None


@pytest.mark.parametrize("command", WORDS)
def test_completion_knows_what_may_follow_a_command(tool, command):
    printed = tool(*command.split(), "--help").out

    groups = re.findall(r"^  ([a-z]+)  ", printed.partition("Commands:\n")[2], re.MULTILINE)
    options = re.findall(r"^  (?:-\w, )?(--[a-z-]+)", printed, re.MULTILINE)
    arguments = SCRIPTS if command == "completion" else ()
    assert {*groups, *options, *arguments} == set(WORDS[command]), "correct WORDS in microlith_cli/commands/__init__.py"
    assert all(f"{command} {group}" in WORDS for group in groups)


def test_dispatch_takes_the_options_that_its_help_shows():
    assert {*wish.VALUED, *wish.SWITCHES} == set(WORDS["dispatch"])


def test_version_is_the_one_of_the_distribution(tool):
    project = tomli.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert project["version"] == VERSION
    assert tool("--version").out == f"microlith {VERSION}\n"
    assert tool("-q", "--version").out == f"microlith {VERSION}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["-v", "--help"], ["--color", "never"]])
def test_help_is_shown(tool, arguments):
    ended = tool(*arguments)

    assert (ended.code, ended.out, ended.err) == (0, HELP, "")


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (["dispach"], "There is no command 'dispach'.", "Did you mean 'dispatch'?"),
        (["xyzzy"], "There is no command 'xyzzy'.", "`microlith --help` shows them all."),
        (["--colour", "never", "list"], "There is no option '--colour'.", "Did you mean '--color'?"),
        (["--color", "pink", "list"], "--color takes auto, always, never, not 'pink'.", ""),
        (["--color"], "--color needs a value.", ""),
        (["-C", "nowhere", "list"], "-C nowhere: No such file or directory.", ""),
        (["list", "--mesages"], "There is no option '--mesages'.", "Did you mean '--messages'?"),
        (["list", "a", "b"], "unexpected extra argument", "`microlith list --help`"),
        (["list", "-q"], "-q is an option of microlith itself.", "Write `microlith -q list`."),
        (["completion", "bsh"], "There is no shell 'bsh'.", "Did you mean 'bash'?"),
        (["completion"], "Which shell?", "zsh or fish"),
    ],
)
def test_command_line_that_cannot_be_meant_ends_with_2_and_a_hint(tool, arguments, said, hint):
    ended = tool(*arguments)

    assert (ended.code, ended.out) == (2, "")
    error, *hints = ended.err.splitlines()
    assert error.startswith("error ")
    assert said in error
    assert hint in "".join(hints)


def test_error_in_json_is_one_object_on_stdout(tool):
    ended = tool("list", "--json")

    assert (ended.code, ended.err) == (2, "")
    assert ended.lines == [
        {
            "error": {
                "type": "NoProjectError",
                "message": f"No pyproject.toml with [tool.microlith] in {tool.folder} or above.",
                "hint": "`microlith new app NAME` makes a project; `microlith -C DIR` looks in another folder.",
            },
            "exit": 2,
        }
    ]


def test_usage_error_in_json_is_one_object_too(tool):
    (line,) = tool("list", "--json", "--nope").lines

    assert (line["exit"], line["error"]["type"]) == (2, "UnknownNameError")


BROKEN = """
import sys, microlith_cli.main as main, microlith_cli.commands.list as command
def planted(project): raise {error}
command.read_catalog = planted
command.find_project = lambda: None
sys.exit(main.run(sys.argv[1:]))
"""


def run_broken(error: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BROKEN.format(error=error), *arguments], capture_output=True, text=True, check=False
    )


def test_mistake_of_ours_shows_its_traceback_escaped():
    ended = run_broken("RuntimeError('planted \\x1b[31m')", "list")

    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert "error RuntimeError: planted \\x1b[31m" in ended.stderr
    assert "\x1b" not in ended.stderr


def test_mistake_of_ours_in_json_is_one_object():
    ended = run_broken("RuntimeError('planted')", "list", "--json")

    assert json.loads(ended.stdout)["error"]["type"] == "RuntimeError"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("__import__('microlith.errors').errors.PayloadError('T', [dict(field='a', problem='b')])", 2),
        ("__import__('microlith.errors').errors.UnknownTypeError('T', [])", 2),
        ("__import__('microlith.errors').errors.WaitTimeout(['T'], 'c', 5, {})", 3),
        ("__import__('microlith.errors').errors.StoreLockedError('p', 'q')", 1),
        ("KeyboardInterrupt", 130),
    ],
)
def test_error_of_the_runtime_has_its_exit_code_and_no_traceback(error, code):
    ended = run_broken(error, "list")

    assert ended.returncode == code
    assert "Traceback" not in ended.stderr


def test_verbose_shows_the_traceback_of_any_error():
    ended = run_broken("__import__('microlith.errors').errors.StoreLockedError('p', 'q')", "-v", "list")

    assert "Traceback" in ended.stderr
    assert "error p is owned by q." in ended.stderr


def test_windows_is_refused_in_a_clear_sentence():
    code = "import os, sys, microlith_cli.main as main; os.name = 'nt'; sys.exit(main.run(['list']))"

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert "error The tool does not run on Windows yet" in ended.stderr
    assert "WSL" in ended.stderr


@pytest.mark.parametrize("argument", ["--help", "--version", "list"])
def test_pipe_that_nobody_reads_is_left_quietly(tool, argument):
    nobody, pipe = os.pipe()
    os.close(nobody)
    process = tool.start(argument, stdout=pipe)
    os.close(pipe)

    _, err = process.communicate(timeout=20)

    assert "Broken" not in err
    assert "Traceback" not in err


def test_names_of_commands_are_free_of_typer_and_pydantic():
    code = "import sys, microlith_cli.main; print(sorted({'typer', 'pydantic', 'rich', 'asyncio'} & set(sys.modules)))"

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stdout == "[]\n"
