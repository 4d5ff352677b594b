"""One line while it is typed: its text, its cursor, and what each key does to it.

The keys are those of every shell: arrows, Home, End, and the Emacs ones. What is asked of others, such as to
complete a word, is handed out as an `Asked`.

Python's readline cannot draw its line anew after something was written above it, and is another library on some
systems; hence this one.

Draws nothing and reads no terminal.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from microlith_cli.console.ink import cells, first_cells

Asked = Literal["", "enter", "end", "complete", "clear"]

_KEY = re.compile(r"\x1b(?:\[[0-9;]*[~A-Za-z]|O[A-Za-z]|[^\[O])|[^\x1b]", re.DOTALL)
_WORD = re.compile(r"\w+")
LONGEST = 1 << 16
"""Characters of a line; what is typed beyond is left out."""

_KEYS = {
    **dict.fromkeys(("\x01", "\x1b[H", "\x1bOH", "\x1b[1~", "\x1b[7~"), "home"),
    **dict.fromkeys(("\x05", "\x1b[F", "\x1bOF", "\x1b[4~", "\x1b[8~"), "to_end"),
    **dict.fromkeys(("\x02", "\x1b[D", "\x1bOD"), "left"),
    **dict.fromkeys(("\x06", "\x1b[C", "\x1bOC"), "right"),
    **dict.fromkeys(("\x1bb", "\x1b[1;5D", "\x1b[1;3D"), "word_left"),
    **dict.fromkeys(("\x1bf", "\x1b[1;5C", "\x1b[1;3C"), "word_right"),
    **dict.fromkeys(("\x10", "\x1b[A", "\x1bOA"), "older"),
    **dict.fromkeys(("\x0e", "\x1b[B", "\x1bOB"), "newer"),
    **dict.fromkeys(("\x7f", "\x08"), "delete_left"),
    **dict.fromkeys(("\x1b\x7f", "\x1b\x08"), "cut_part_left"),
    "\x1b[3~": "delete_right",
    "\x1bd": "cut_part_right",
    "\x17": "cut_word_left",
    "\x0b": "cut_to_end",
    "\x15": "cut_to_home",
    "\x19": "paste",
    "\x12": "search",
}


def keys(text: str) -> Iterator[str]:
    """Take what a terminal sent apart: a character each, or a whole escape sequence."""
    at = 0
    while found := _KEY.match(text, at):
        yield found[0]
        at = found.end()


def begins_a_key(text: str) -> bool:
    """Tell whether a text ends within an escape sequence, so that the rest of it may still come."""
    return re.search(r"\x1b(\[[0-9;]*|O)?\Z", text) is not None


def beginning(words: Sequence[str]) -> str:
    """Return what all words begin with."""
    first, last = min(words), max(words)
    return first[
        : next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    ]


class Line:
    """One line that is typed.

    Args:
        history: Earlier lines, the oldest first.

    Attributes:
        text: What is there.
        at: How many characters stand before the cursor.
    """

    def __init__(self, history: Sequence[str] = ()) -> None:
        self.text = ""
        self.at = 0
        self.searched: str | None = None
        """What is searched for in the history; None: nothing is."""
        self._history = history
        self._place = len(history)
        self._typed = ""
        self._cut = ""

    def press(self, key: str) -> Asked:
        """Take one key; returns what somebody else has to do about it."""
        if self.searched is not None and self._search_on(key):
            return ""
        match key:
            case "\r" | "\n":
                return "enter"
            case "\t":
                return "complete"
            case "\x0c":
                return "clear"
            case "\x04":
                if not self.text:
                    return "end"
                self._delete_right()
            case _ if key in _KEYS:
                getattr(self, f"_{_KEYS[key]}")()
            case _ if key.isprintable():
                self.insert(key)
        return ""

    def insert(self, text: str) -> None:
        """Put a text where the cursor is."""
        text = text[: max(0, LONGEST - len(self.text))]
        self.text = self.text[: self.at] + text + self.text[self.at :]
        self.at += len(text)

    def replace(self, begin: int, text: str) -> None:
        """Put a text in the place of what stands between `begin` and the cursor."""
        self.text = self.text[:begin] + self.text[self.at :]
        self.at = begin
        self.insert(text)

    def window(self, width: int) -> tuple[str, int]:
        """Return the part around the cursor that fits into so many cells, and the cell in it that the cursor is on."""
        room = max(1, width - 1)  # the cursor may stand behind the last character
        begin = 0
        while cells(self.text[begin : self.at]) > room:
            begin += max(1, room // 2)
        begin = min(begin, self.at)
        return first_cells(self.text[begin:], room), cells(self.text[begin : self.at])

    def _home(self) -> None:
        self.at = 0

    def _to_end(self) -> None:
        self.at = len(self.text)

    def _left(self) -> None:
        self.at = max(0, self.at - 1)

    def _right(self) -> None:
        self.at = min(len(self.text), self.at + 1)

    def _word_left(self) -> None:
        self.at = self._part_left()

    def _word_right(self) -> None:
        self.at = self._part_right()

    def _delete_left(self) -> None:
        if self.at:
            self.replace(self.at - 1, "")

    def _delete_right(self) -> None:
        self.text = self.text[: self.at] + self.text[self.at + 1 :]

    def _cut_part_left(self) -> None:
        self._cut_from(self._part_left())

    def _cut_part_right(self) -> None:
        end = self._part_right()
        self._cut = self.text[self.at : end]
        self.text = self.text[: self.at] + self.text[end:]

    def _cut_word_left(self) -> None:
        self._cut_from(self.text[: self.at].rstrip().rfind(" ") + 1)

    def _cut_to_end(self) -> None:
        self._cut = self.text[self.at :]
        self.text = self.text[: self.at]

    def _cut_to_home(self) -> None:
        self._cut_from(0)

    def _cut_from(self, begin: int) -> None:
        self._cut = self.text[begin : self.at]
        self.replace(begin, "")

    def _paste(self) -> None:
        self.insert(self._cut)

    def _part_left(self) -> int:
        return max((word.start() for word in _WORD.finditer(self.text) if word.start() < self.at), default=0)

    def _part_right(self) -> int:
        return next((word.end() for word in _WORD.finditer(self.text) if word.end() > self.at), len(self.text))

    def _older(self) -> None:
        if self._place == len(self._history):
            self._typed = self.text
        self._show(self._place - 1)

    def _newer(self) -> None:
        self._show(self._place + 1)

    def _show(self, place: int) -> None:
        if 0 <= place <= len(self._history):
            self._place = place
            self.text = self._typed if place == len(self._history) else self._history[place]
            self.at = len(self.text)

    def _search(self) -> None:
        self.searched = ""
        self._typed = self.text
        self._place = len(self._history)

    def _search_on(self, key: str) -> bool:
        """Search with one more key; returns whether the key belonged to the search."""
        wanted = self.searched or ""
        if key == "\x12":
            self._find(wanted, self._place - 1)
        elif key in {"\x7f", "\x08"}:
            self.searched = wanted[:-1]
            self._find(wanted[:-1], len(self._history) - 1)
        elif key.isprintable():
            self.searched = wanted + key
            self._find(wanted + key, min(self._place, len(self._history) - 1))
        else:
            self.searched = None
            return False
        return True

    def _find(self, wanted: str, newest: int) -> None:
        for place in range(newest, -1, -1):
            if wanted and wanted in self._history[place]:
                self._show(place)
                return
