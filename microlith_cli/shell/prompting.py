"""The prompt: reads one line after the other from a terminal, and shows what comes meanwhile above it.

Where the terminal cannot do that, lines are read as it gives them, and news wait for the next prompt.
"""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Protocol, TextIO

from microlith_cli.console import plain
from microlith_cli.console.blocks import columns
from microlith_cli.console.editing import Line, beginning
from microlith_cli.console.ink import cells, first_cells
from microlith_cli.console.keys import Keys
from microlith_cli.shell.news import News

_LISTED = 30
_WIDTH = 80

Complete = Callable[[str], tuple[int, list[tuple[str, str]]]]
Wait = Callable[[Sequence[int]], None]


class Prompt(Protocol):
    """Reads lines."""

    def read(self, prompt: str, history: Sequence[str]) -> str:
        """Read one line.

        Raises:
            EOFError: There are no more.
            KeyboardInterrupt: The user has thrown it away.
        """
        ...


def open_prompt(news: News, wait: Wait, complete: Complete) -> Prompt:
    """Give the best prompt that the terminal allows."""
    screen = next((stream for stream in (sys.stderr, sys.stdout) if stream is not None and stream.isatty()), None)
    if screen is None or os.environ.get("TERM", "dumb") == "dumb":
        return _Bare(news, wait)
    return _Drawn(screen, news, wait, complete)


class _Bare:
    """Lines as the terminal gives them."""

    def __init__(self, news: News, wait: Wait) -> None:
        self._news = news
        self._wait = wait

    def read(self, prompt: str, history: Sequence[str]) -> str:
        del history
        for line in self._news.take():
            plain.err(line)
        plain.ask(prompt)
        self._wait([sys.stdin.fileno()])
        line = sys.stdin.readline()
        if not line:
            plain.err("")
            raise EOFError
        return line.rstrip("\n")


class _Drawn:
    """One row of the screen, drawn anew after each key and after what is shown above it."""

    def __init__(self, screen: TextIO, news: News, wait: Wait, complete: Complete) -> None:
        self._screen = screen
        self._news = news
        self._wait = wait
        self._complete_at = complete
        self._keys = Keys(self._write, news.ring)  # which has the line drawn anew
        self._line = Line()
        self._prompt = ""

    def read(self, prompt: str, history: Sequence[str]) -> str:
        self._line, self._prompt = Line(history), prompt
        with self._keys.singly():
            try:
                return self._read()
            except KeyboardInterrupt:
                self._keys.forget()
                self._draw()
                self._write("^C\n")
                raise

    def _read(self) -> str:
        while True:
            for key in self._keys.pressed():
                asked = self._line.press(key)
                if asked == "enter":
                    self._line.searched = None
                    self._draw()
                    self._write("\r\n")
                    return self._line.text
                if asked == "end":
                    self._write("\r\n")
                    raise EOFError
                if asked == "complete":
                    self._complete()
                elif asked == "clear":
                    self._write("\x1b[H\x1b[2J")
            if lines := self._news.take():
                self._above(lines)
            self._draw()
            self._wait([self._keys.descriptor, self._news.descriptor])

    def _complete(self) -> None:
        line = self._line
        begin, found = self._complete_at(line.text[: line.at])
        if not found:
            return
        words = [word for word, _ in found]
        shared = beginning(words)
        current = line.text[begin : line.at]
        if len(found) == 1:
            open_end = shared.endswith((":", ".")) and not shared.startswith("--")
            line.replace(begin, shlex.quote(shared) + ("" if open_end else " "))
        elif len(shared) > len(current) and shared == shlex.quote(shared):
            line.replace(begin, shared)
        else:
            self._list(found)

    def _list(self, found: Sequence[tuple[str, str]]) -> None:
        rows = columns([(plain.escape(word), plain.escape(said)) for word, said in found[:_LISTED]])
        more = [f"and {len(found) - _LISTED} more"] if len(found) > _LISTED else []
        self._above([first_cells(row, self._width()) for row in [*rows, *more]])

    def _above(self, lines: Sequence[str]) -> None:
        """Show lines above the one that is typed."""
        self._write("\r\x1b[K" + "".join(f"{line}\r\n" for line in lines))
        self._draw()

    def _draw(self) -> None:
        wanted = self._line.searched
        prompt = plain.escape(self._prompt if wanted is None else f"search {wanted!r}: ")
        prompt = first_cells(prompt, max(1, self._width() // 2))
        taken = cells(prompt)
        shown, cursor = self._line.window(self._width() - taken)
        right = f"\x1b[{taken + cursor}C" if taken + cursor else ""
        self._write(f"\r{plain.styled(prompt, '1', self._screen)}{shown}\x1b[K\r{right}")

    def _width(self) -> int:
        try:
            return max(10, os.get_terminal_size(self._screen.fileno()).columns or _WIDTH)
        except OSError:
            return _WIDTH

    def _write(self, text: str) -> None:
        encoding = self._screen.encoding or "ascii"
        self._screen.write(text.encode(encoding, "replace").decode(encoding, "replace"))
        self._screen.flush()
