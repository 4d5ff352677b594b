"""The keys that a person presses, one after the other, while a line of theirs is edited.

The terminal gives each key at once and shows none; Ctrl-C and Ctrl-Z are signals as ever. It is left as it was found.

Draws nothing and knows no line: what a key means is said elsewhere.
"""

import codecs
import fcntl
import os
import select
import signal
import sys
import termios
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from microlith_cli.console.editing import begins_a_key, keys

_FLAGS, _CHARACTERS = 3, 6
"""Where the local modes and the special characters stand among a terminal's attributes."""
_PASTE = ("\x1b[200~", "\x1b[201~")
"""What a terminal puts around pasted text when it is asked to: a tab in there completes nothing."""
_ASK, _ASK_NO_MORE = "\x1b[?2004h", "\x1b[?2004l"
_ESCAPE_SECONDS = 0.05
"""How long the rest of an escape sequence may take."""
_END, _KEPT_END = b"\x04", b"\0"
"""Ctrl-D, and what the kernel keeps in its place while it edits lines itself."""

_pressed: deque[str] = deque()
"""What was pressed and nobody has taken; whoever asks next gets it, for a process has one keyboard."""


class Keys:
    """Gives the keys of stdin's terminal.

    Args:
        write: Writes to the terminal.
        woken: Called, perhaps between any two steps, when the terminal has been given back or has another size.
    """

    def __init__(self, write: Callable[[str], None], woken: Callable[[], None]) -> None:
        self._write = write
        self._woken = woken
        self.descriptor = sys.stdin.fileno()
        """Can be read when a key was pressed."""
        self._decoder = codecs.getincrementaldecoder(sys.stdin.encoding or "utf-8")("replace")
        self._ahead = 0
        self._pasting = False

    @contextmanager
    def singly(self) -> Iterator[None]:
        """Have the terminal give single keys, for the length of a block."""
        before = termios.tcgetattr(self.descriptor)

        def again(number: int, frame: object) -> None:
            del number, frame
            self._set(before)
            self._woken()

        signals = (signal.SIGCONT, signal.SIGWINCH)
        handlers = [signal.signal(each, again) for each in signals]
        self._set(before)
        self._ahead = self._readable()
        self._write(_ASK)
        try:
            yield
        finally:
            with suppress(OSError):
                self._write(_ASK_NO_MORE)
            for each, handler in zip(signals, handlers, strict=True):
                signal.signal(each, handler)
            with suppress(termios.error):  # the terminal has gone
                termios.tcsetattr(self.descriptor, termios.TCSADRAIN, before)

    def pressed(self) -> Iterator[str]:
        """Yield the keys that were pressed and not yet taken, without waiting.

        Raises:
            EOFError: The terminal has gone.
        """
        if select.select([self.descriptor], [], [], 0)[0]:
            self._gather()
        while _pressed:
            yield _pressed.popleft()

    def forget(self) -> None:
        """Forget what was pressed and not yet taken."""
        _pressed.clear()
        self._pasting = False

    def _gather(self) -> None:
        text = self._typed()
        while begins_a_key(text) and select.select([self.descriptor], [], [], _ESCAPE_SECONDS)[0]:
            text += self._typed()
        for key in keys(text):
            if key in _PASTE:
                self._pasting = key == _PASTE[0]
            else:
                _pressed.append(" " if self._pasting and key == "\t" else key)

    def _typed(self) -> str:
        try:
            data = os.read(self.descriptor, 4096)
        except OSError:  # the terminal has gone
            data = b""
        if not data:
            raise EOFError
        ahead, self._ahead = data[: self._ahead], max(0, self._ahead - len(data))
        return self._decoder.decode(ahead.replace(_KEPT_END, _END) + data[len(ahead) :])

    def _readable(self) -> int:
        """How many bytes can be read."""
        try:
            return int.from_bytes(fcntl.ioctl(self.descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)
        except OSError:
            return 0

    def _set(self, before: list[Any]) -> None:
        modes = list(before)
        modes[_FLAGS] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
        modes[_CHARACTERS] = list(before[_CHARACTERS])
        modes[_CHARACTERS][termios.VMIN], modes[_CHARACTERS][termios.VTIME] = 1, 0
        with suppress(termios.error):
            termios.tcsetattr(self.descriptor, termios.TCSADRAIN, modes)
