"""A real terminal of a given size: tmux, with a server of its own, and a shell or one command in it."""

import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PATIENCE = 40.0
"""Seconds for anything that takes less than one on an idle machine."""


class Tmux:
    """One window of one terminal.

    Args:
        folder: Where its socket lies, and what it ran is written down; short, for a socket's path may not be long.
        columns: Cells in a line.
        rows: Lines.
        environment: Of what runs in it; `TERM` is tmux's own.
    """

    def __init__(self, folder: Path, *, columns: int, rows: int, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._command = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]
        self._environment = {**environment, "TERM": "xterm-256color", "PS1": "$ ", "ENV": ""}
        self._ended = 0
        for name in ("TMUX", "COLUMNS", "LINES"):
            self._environment.pop(name, None)
        size = ("-x", str(columns), "-y", str(rows))
        self._tmux("new-session", "-d", *size, "/bin/sh")
        self._tmux("set-option", "-g", "status", "off")
        self._tmux("set-option", "-g", "history-limit", "5000")
        self._tmux("resize-window", *size)

    def type(self, text: str) -> None:
        """Type a text, without a key at the end."""
        self._tmux("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        """Press keys by their names in tmux, such as "Enter" or "C-c"."""
        self._tmux("send-keys", *keys)

    def run(self, command: str | Sequence[str], *, folder: Path) -> None:
        """Start a command on an empty screen; `code` waits for its end."""
        typed = command if isinstance(command, str) else shlex.join(command)
        self._ended += 1
        script = self._folder / f"{self._ended}.sh"
        script.write_text(f"cd {shlex.quote(str(folder))}\nclear\n{typed}\n", "utf-8")
        self.type(f". {script}; echo $? > {self._folder}/{self._ended}.code")
        self.press("Enter")

    def code(self) -> int:
        """Wait for the end of what was started last; returns its exit code."""
        file = self._folder / f"{self._ended}.code"
        deadline = time.monotonic() + PATIENCE
        while not file.exists() or not file.read_text("utf-8"):
            assert time.monotonic() < deadline, f"it goes on:\n{self.text()}"
            time.sleep(0.02)
        return int(file.read_text("utf-8"))

    def wait_for(self, wanted: str) -> str:
        """Wait until what is on the screen fits a pattern; returns what is on it."""
        return self.wait_until(lambda shown: re.search(wanted, shown) is not None, wanted)

    def wait_until(self, holds: Callable[[str], bool], wanted: str = "") -> str:
        """Wait until something holds of what is on the screen; returns what is on it."""
        deadline = time.monotonic() + PATIENCE
        while not holds(shown := self.text()):
            assert time.monotonic() < deadline, f"waited for {wanted!r} in:\n{shown}"
            time.sleep(0.02)
        return shown

    def text(self, *, colored: bool = False, history: bool = False) -> str:
        """What is on the screen, and above it; colours as escape sequences."""
        options = [*(["-e"] if colored else []), *(["-S", "-"] if history else [])]
        shown = self._tmux("capture-pane", "-p", *options)
        return "".join(f"{line.rstrip()}\n" for line in shown.rstrip().splitlines())

    def resize(self, columns: int, rows: int) -> None:
        """Give it another size."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def state(self, name: str) -> str:
        """One of tmux's variables, such as "cursor_flag" or "alternate_on"."""
        return self._tmux("display-message", "-p", f"#{{{name}}}").strip()

    def end(self) -> None:
        """End it, and what runs in it."""
        self._tmux("kill-server")

    def _tmux(self, *arguments: str) -> str:
        ended = subprocess.run(
            [*self._command, *arguments], env=self._environment, capture_output=True, timeout=PATIENCE, check=False
        )
        assert ended.returncode == 0, ended.stderr.decode(errors="replace")
        return ended.stdout.decode(errors="replace")


def plain_environment() -> dict[str, str]:
    """The environment without what changes how the tool draws."""
    unwanted = ("MICROLITH_", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "LINES", "LC_", "LANG")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return {**kept, "LC_ALL": "C.UTF-8"}
