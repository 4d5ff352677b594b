"""The page docs/cli.md: prose by hand, and each `$ microlith ... --help` block as the tool prints it.

`python -m tests.meta.cli_docs` writes the blocks anew, and adds a section for each command that has none.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

from tests.meta.tree import ROOT

PAGE = ROOT / "docs" / "cli.md"
TITLE = "# The command line\n\nEach block is what the tool prints, in a terminal 80 columns wide.\n"

BLOCK = re.compile(
    r"^```console\n\$ microlith (?P<arguments>(?:[^\n]* )?--help)\n(?P<output>.*?)^```$", re.MULTILINE | re.DOTALL
)
LISTED = re.compile(r"^Commands:\n(?P<rows>(?:  .*\n?)+)", re.MULTILINE)
LISTED_NAME = re.compile(r"^  (?P<name>[a-z][a-z-]*)(?:  |$)", re.MULTILINE)


def help_text(*command: str) -> str:
    """What the tool prints for one command's `--help`: 80 columns, no colour."""
    plain = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    ended = subprocess.run(
        [sys.executable, "-m", "microlith_cli", *command, "--help"],
        cwd=ROOT,
        env=plain,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode != 0:
        raise RuntimeError(f"`microlith {' '.join(command)} --help` ended with {ended.returncode}: {ended.stderr}")
    return "\n".join(line.rstrip() for line in ended.stdout.strip("\n").splitlines()) + "\n"


def commands_below(*command: str) -> Iterator[tuple[str, ...]]:
    """A command and, where its help lists further ones, those too."""
    yield command
    if listed := LISTED.search(help_text(*command)):
        for name in LISTED_NAME.findall(listed["rows"]):
            yield from commands_below(*command, name)


def updated(page: str) -> str:
    """The page with every block as the tool prints it now, and no command left out."""

    def as_printed(block: re.Match[str]) -> str:
        command = block["arguments"].split()[:-1]
        return f"```console\n$ microlith {block['arguments']}\n{help_text(*command)}```"

    documented = {block["arguments"] for block in BLOCK.finditer(page)}
    sections = [BLOCK.sub(as_printed, page).rstrip("\n") + "\n"]
    for command in commands_below():
        call = " ".join((*command, "--help"))
        if call not in documented:
            name = " ".join(("microlith", *command))
            sections.append(f"## {name}\n\n```console\n$ microlith {call}\n{help_text(*command)}```\n")
    return "\n".join(sections)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(updated(PAGE.read_text("utf-8") if PAGE.exists() else TITLE), "utf-8")
