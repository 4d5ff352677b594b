"""Questions to a person at a terminal: the line they type, and below it what there is to say about it, key by key.

An answer is taken when it fits. Where the terminal cannot do that, `Lines` reads lines as it gives them, and says
what is wrong with one below it.

Knows no fields: whoever asks judges each text.
"""

import os
import select
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol, TextIO

from microlith_cli.console import plain
from microlith_cli.console.editing import Line, beginning
from microlith_cli.console.ink import IMMOVABLE, Ink, cells, first_cells, one_line
from microlith_cli.console.keys import Keys
from microlith_cli.filling import ask_hidden

_FEWEST_COLUMNS = 20
_SEARCH = "\x12"
_DIM, _UNFIT, _REFUSED = "2", "33", "1;31"
"""Styles of what is said: to be known; wrong so far; wrong, and it was to be the answer."""


class Verdict(NamedTuple):
    """What there is to say about a text.

    Attributes:
        fits: Whether it can be the answer.
        said: What is wrong with it, or what is to be known; may be empty, and may hold data.
    """

    fits: bool
    said: str = ""


Judge = Callable[[str], Verdict]


class Questions(Protocol):
    """Somebody to ask one question after the other."""

    def ask(
        self, question: str, judge: Judge, *, hint: str = "", hidden: bool = False, words: Sequence[str] = ()
    ) -> str:
        """Ask until an answer fits.

        Args:
            question: What stands before the answer; safe to show.
            judge: Judges a text.
            hint: What to say while nothing is typed; may hold data.
            hidden: Whether the answer is not shown as it is typed.
            words: Answers that can be completed.

        Raises:
            KeyboardInterrupt: There will be no answer.
        """
        ...


def open_questions() -> Questions:
    """Give the best way of asking that the terminal allows."""
    if os.environ.get("TERM", "") in IMMOVABLE or sys.stderr is None or not sys.stderr.isatty():
        return Lines()
    return _Drawn(sys.stderr)


class Lines:
    """Asks where the terminal gives lines and nothing can be drawn over."""

    def ask(
        self, question: str, judge: Judge, *, hint: str = "", hidden: bool = False, words: Sequence[str] = ()
    ) -> str:
        """Ask, and say below each answer that does not fit what is wrong with it."""
        del hint, words
        while True:
            answer = ask_hidden(question) if hidden else _line(question)
            verdict = judge(answer)
            if verdict.fits:
                return answer
            plain.complain(plain.escape(f"  {verdict.said}"))


class _Drawn:
    """Two rows of the screen, drawn anew after each key: the answer, and what there is to say about it."""

    def __init__(self, screen: TextIO) -> None:
        self._screen = screen
        self._bell, self._ring = -1, -1
        self._keys = Keys(self._write, self._wake)

    def ask(
        self, question: str, judge: Judge, *, hint: str = "", hidden: bool = False, words: Sequence[str] = ()
    ) -> str:
        self._bell, self._ring = os.pipe()
        try:
            with self._keys.singly():
                return self._ask(_Asked(question, judge, hint, words, hidden=hidden))
        finally:
            os.close(self._bell)
            os.close(self._ring)

    def _ask(self, asked: "_Asked") -> str:
        try:
            while True:
                for key in self._keys.pressed():
                    if asked.take(key):
                        self._draw(asked, below=False)
                        self._write("\r\n")
                        return asked.line.text
                self._draw(asked)
                self._wait()
        except (KeyboardInterrupt, EOFError):
            self._keys.forget()
            self._draw(asked, below=False)
            self._write("^C")
            raise KeyboardInterrupt from None

    def _wait(self) -> None:
        """Wait for a key, or until the terminal has changed."""
        ready, _, _ = select.select([self._keys.descriptor, self._bell], [], [])
        if self._bell in ready:
            os.read(self._bell, 64)

    def _wake(self) -> None:
        with suppress(OSError):
            os.write(self._ring, b"!")

    def _draw(self, asked: "_Asked", *, below: bool = True) -> None:
        ink = Ink.of(self._screen)
        width = max(_FEWEST_COLUMNS, ink.width)
        question = first_cells(asked.question, width // 2)
        taken = cells(question)
        shown, cursor = ("", 0) if asked.hidden else asked.line.window(width - taken)
        said, style = asked.said()
        under = ""
        if below and said:
            row = plain.styled(ink.cut(one_line(said), width - 3), style, self._screen)
            under = f"\r\n  {row}\x1b[A"
        right = f"\x1b[{taken + cursor}C" if taken + cursor else ""
        self._write(f"\r\x1b[J{question}{plain.escape(shown)}{under}\r{right}")

    def _write(self, text: str) -> None:
        encoding = self._screen.encoding or "ascii"
        self._screen.write(text.encode(encoding, "replace").decode(encoding, "replace"))
        self._screen.flush()


class _Asked:
    """One question, and what was typed so far."""

    def __init__(self, question: str, judge: Judge, hint: str, words: Sequence[str], *, hidden: bool) -> None:
        self.question = question
        self.hidden = hidden
        self.line = Line()
        self._judge = judge
        self._hint = hint
        self._words = words
        self._refused = False

    def take(self, key: str) -> bool:
        """Take one key; tell whether the answer is given.

        Raises:
            EOFError: There will be none.
        """
        self._refused = False
        if key == _SEARCH:  # there are no earlier answers to be found
            return False
        wanted = self.line.press(key)
        if wanted == "end":
            raise EOFError
        if wanted == "enter":
            self._refused = not self._judge(self.line.text).fits
            return not self._refused
        if wanted == "complete":
            self._complete()
        return False

    def said(self) -> tuple[str, str]:
        """What stands below the answer, and its style."""
        verdict = self._judge(self.line.text)
        if verdict.fits or self._refused:
            return verdict.said, _DIM if verdict.fits else _REFUSED
        if fitting := self._fitting():
            return f"{' or '.join(fitting)}; Tab completes", _DIM
        return (verdict.said, _UNFIT) if self.line.text else (self._hint, _DIM)

    def _fitting(self) -> list[str]:
        return [word for word in self._words if word.startswith(self.line.text[: self.line.at])]

    def _complete(self) -> None:
        if fitting := self._fitting():
            self.line.replace(0, beginning(fitting))


def _line(question: str) -> str:
    plain.ask(question)
    line = sys.stdin.buffer.readline()
    if not line:
        raise KeyboardInterrupt
    return line.decode("utf-8", "surrogateescape").rstrip("\r\n")
