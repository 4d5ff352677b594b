"""The lines of a shell, each run as the command it is.

A line goes the way of every command line of the tool, so there is one parser, one output, one set of exit codes.
Here is what a shell adds: its own commands, and what is kept of a line.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from microlith_cli.console import plain
from microlith_cli.console.blocks import columns
from microlith_cli.errors import DONE, INTERRUPTED, ToolError, UnknownNameError, UsageError
from microlith_cli.filtering import compile_filter
from microlith_cli.main import fail, perform
from microlith_cli.shell.keeping import kept, secret_names
from microlith_cli.shell.partners import Partner
from microlith_cli.shell.recording import Recording
from microlith_cli.shell.words import OWN, VERBS, WATCH, WATCH_SAID, as_command, split_line

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEAVING = frozenset({".quit", ".exit", "quit", "exit"})
_KEYS = """\
A message alone is dispatched: LoginCommand --email a@b.c --wait UserLoggedInEvent
Tab completes; Up and Ctrl-R find earlier lines; Ctrl-C stops a command or
throws the line away; Ctrl-D leaves, and the application runs on."""


class Lines:
    """Runs lines.

    Args:
        partner: Whom they are for.
        as_json: Whether every command prints JSON.
        keep: Takes what may be kept of each line that was typed; None: nobody types, so nothing is kept.

    Attributes:
        over: Whether the user wants to leave.
    """

    def __init__(self, partner: Partner, *, as_json: bool, keep: Callable[[str], None] | None = None) -> None:
        self.over = False
        self._partner = partner
        self._as_json = as_json
        self._keep = keep
        self._recording = Recording()

    def run(self, line: str) -> int:
        """Run one line; returns its exit code. Its errors end here, told to the user.

        Raises:
            OutputError, BrokenPipeError: There is no way left to tell anything.
        """
        try:
            words = split_line(line)
        except UsageError as error:
            self._keep_of(line, line.split())
            return fail(error)
        if not words:
            return DONE
        if words[0] in _LEAVING:
            self.over = True
            return DONE
        left = self._keep_of(line, words)
        own = words[0] in {WATCH, *OWN} or words[0].startswith(".")
        try:
            code = self._own(words, line) if own else self._command(words)
            if not own:
                self._recording.add(line, left, code)
        except (ToolError, KeyboardInterrupt) as error:
            return INTERRUPTED if isinstance(error, KeyboardInterrupt) else self._failed(error)
        return code

    @staticmethod
    def _failed(error: ToolError) -> int:
        if type(error).__name__ == "OutputError":
            raise error
        return fail(error)

    def _keep_of(self, line: str, words: Sequence[str]) -> str | None:
        if self._keep is None:
            return line
        catalog = self._partner.catalog()
        if "messages" not in catalog:
            return None  # what is secret cannot be known
        left = kept(line, list(words), secret_names(catalog))
        if left is not None:
            self._keep(left)
        return left

    def _command(self, words: list[str]) -> int:
        with _settings_kept():
            try:
                arguments = as_command(words, self._partner.catalog, as_json=self._as_json)
            except UsageError as error:
                return fail(error)
            return perform(arguments)

    def _own(self, words: list[str], line: str) -> int:
        first, *rest = words
        if first == ".help":
            return self._help(rest)
        elif first == ".record":
            self._record(rest)
        elif first == WATCH:
            self._watch(line.strip().removeprefix(WATCH).strip())
        else:
            raise UnknownNameError("command", first, list(OWN), see=".help")
        return DONE

    def _help(self, rest: list[str]) -> int:
        if rest:
            return self._command([*rest, "--help"])
        for row in columns([*VERBS.items(), (WATCH, WATCH_SAID), *OWN.items()]):
            plain.out(row)
        plain.out(f"\n{_KEYS}")
        return DONE

    def _record(self, rest: list[str]) -> None:
        if self._keep is None:
            raise UsageError("A script is written already; `.record` is for lines that are typed.")
        if len(rest) > 1:
            raise UsageError("`.record` takes one file.", hint="Quote a name with spaces in it.")
        if not rest:
            path = self._recording.path
            plain.say(f"recording into {path}" if path else "nothing is recorded; .record FILE begins")
        elif rest[0] == "off":
            self._recording.end()
            plain.say("nothing is recorded any more")
        else:
            self._recording.begin(Path(rest[0]))
            plain.say(f"recording into {rest[0]}; .record off ends it")

    def _watch(self, asked: str) -> None:
        if self._keep is None:
            raise UsageError(
                "`watch` shows facts while somebody types, and nobody does.",
                hint="`microlith trace --follow --filter FILTER` writes them as lines.",
            )
        if asked == "off":
            self._partner.watch(None)
            plain.say("nothing is shown any more")
            return
        compile_filter(asked)  # a mistake is told at once
        self._partner.watch(asked)
        plain.say(f"showing what passes {asked!r}; watch off ends it" if asked else "showing all; watch off ends it")


@contextmanager
def _settings_kept() -> "Iterator[None]":
    """Undo afterwards what a command changes for all of the process: how it talks, and where it is."""
    before, folder = replace(plain.settings), os.getcwd()  # noqa: PTH109 (a text is wanted)
    try:
        yield
    finally:
        for field in fields(before):
            setattr(plain.settings, field.name, getattr(before, field.name))
        os.chdir(folder)
