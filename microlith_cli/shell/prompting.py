"""The prompt: reads one line after the other from a terminal, and shows what comes meanwhile above it.

Where the terminal cannot do that, lines are read as it gives them, and news wait for the next prompt.
"""

import codecs
import os
import select
import shlex
import signal
import sys
import termios
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TextIO

from microlith_cli.console import plain
from microlith_cli.console.blocks import columns
from microlith_cli.console.ink import cells, first_cells
from microlith_cli.shell.editing import Line, begins_a_key, keys
from microlith_cli.shell.news import News

_FLAGS, _CHARACTERS = 3, 6
"""Where the local modes and the special characters stand among a terminal's attributes."""
_PASTE = ("\x1b[200~", "\x1b[201~")
"""What a terminal puts around pasted text when it is asked to: a tab in there completes nothing."""
_ASK, _ASK_NO_MORE = "\x1b[?2004h", "\x1b[?2004l"
_ESCAPE_SECONDS = 0.05
"""How long the rest of an escape sequence may take."""
_LISTED = 30
_WIDTH = 80

Complete = Callable[[str], tuple[int, list[tuple[str, str]]]]
Wait = Callable[[Sequence[int]], None]


def _beginning(words: Sequence[str]) -> str:
    """Return what all words begin with."""
    first, last = min(words), max(words)
    return first[
        : next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    ]


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
        self._descriptor = sys.stdin.fileno()
        self._decoder = codecs.getincrementaldecoder(sys.stdin.encoding or "utf-8")("replace")
        self._keys: deque[str] = deque()
        self._line = Line()
        self._prompt = ""
        self._pasting = False

    def read(self, prompt: str, history: Sequence[str]) -> str:
        self._line, self._prompt = Line(history), prompt
        with self._single_keys():
            try:
                return self._read()
            except KeyboardInterrupt:
                self._keys.clear()
                self._pasting = False
                self._draw()
                self._write("^C\n")
                raise

    def _read(self) -> str:
        while True:
            while self._keys:
                asked = self._line.press(self._keys.popleft())
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
            self._wait([self._descriptor, self._news.descriptor])
            if select.select([self._descriptor], [], [], 0)[0]:
                self._take_keys()

    def _take_keys(self) -> None:
        text = self._typed()
        while begins_a_key(text) and select.select([self._descriptor], [], [], _ESCAPE_SECONDS)[0]:
            text += self._typed()
        for key in keys(text):
            if key in _PASTE:
                self._pasting = key == _PASTE[0]
            else:
                self._keys.append(" " if self._pasting and key == "\t" else key)

    def _typed(self) -> str:
        try:
            data = os.read(self._descriptor, 4096)
        except OSError:  # the terminal has gone
            data = b""
        if not data:
            raise EOFError
        return self._decoder.decode(data)

    def _complete(self) -> None:
        line = self._line
        begin, found = self._complete_at(line.text[: line.at])
        if not found:
            return
        words = [word for word, _ in found]
        shared = _beginning(words)
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

    @contextmanager
    def _single_keys(self) -> Iterator[None]:
        """Have the terminal give each key at once and show none; Ctrl-C and Ctrl-Z are signals as ever."""
        before = termios.tcgetattr(self._descriptor)

        def again(number: int, frame: object) -> None:
            del number, frame
            self._set(before)
            self._news.ring()  # draws the line anew

        signals = (signal.SIGCONT, signal.SIGWINCH)
        handlers = [signal.signal(each, again) for each in signals]
        self._set(before)
        self._write(_ASK)
        try:
            yield
        finally:
            with suppress(OSError):
                self._write(_ASK_NO_MORE)
            for each, handler in zip(signals, handlers, strict=True):
                signal.signal(each, handler)
            with suppress(termios.error):  # the terminal has gone
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, before)

    def _set(self, before: list[Any]) -> None:
        modes = list(before)
        modes[_FLAGS] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
        modes[_CHARACTERS] = list(before[_CHARACTERS])
        modes[_CHARACTERS][termios.VMIN], modes[_CHARACTERS][termios.VTIME] = 1, 0
        with suppress(termios.error):
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, modes)
