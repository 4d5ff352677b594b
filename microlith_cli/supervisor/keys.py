"""Keys: what a person at the terminal of `run` can press.

The terminal gives every key at once and shows none, and Ctrl-C is a signal as ever. It is left as it was found. Nothing is
read when somebody else owns the terminal, such as the shell that put `run` into the background.

Knows what a key is called, not what it does.
"""

import asyncio
import os
import signal
import sys
import termios
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

_FLAGS = 3
"""Where the local modes stand among a terminal's attributes."""
_READ_AT_MOST = 1024
_LONGEST_LINE = 4096

Action = Callable[[], object]


class Keys:
    """Calls something for each key, while it is entered.

    Args:
        actions: What to do, by key. Other keys do nothing.
    """

    def __init__(self, actions: Mapping[str, Action]) -> None:
        self._actions = actions
        self._loop = asyncio.get_running_loop()
        self._descriptor = _terminal()
        self._before: list[Any] | None = None
        self._line: asyncio.Future[str] | None = None

    @property
    def at_hand(self) -> bool:
        """Whether there is a terminal to press keys at."""
        return self._descriptor is not None

    def __enter__(self) -> Self:
        if self._descriptor is not None:
            self._before = termios.tcgetattr(self._descriptor)
            self._set(single=True)
            self._loop.add_reader(self._descriptor, self._read)
            self._loop.add_signal_handler(signal.SIGCONT, self._resume)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        before, self._before = self._before, None  # from here on, nothing sets the terminal
        if self._descriptor is None or before is None:
            return
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_signal_handler(signal.SIGCONT)
        if _is_ours(self._descriptor):
            with suppress(termios.error):  # the terminal has gone
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, before)

    async def line(self) -> str:
        """Let the person type a line, with the terminal's own editing; empty when they type none."""
        self._set(single=False)
        self._line = self._loop.create_future()
        try:
            return await self._line
        finally:
            self._line = None
            self._set(single=True)

    def _read(self) -> None:
        if self._descriptor is None:
            return
        try:
            typed = os.read(self._descriptor, _LONGEST_LINE if self._line else _READ_AT_MOST)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            typed = b""
        if not typed and self._line is None:  # the terminal has gone
            self._loop.remove_reader(self._descriptor)
        if self._line is not None:
            if not self._line.done():
                self._line.set_result(typed.decode("utf-8", "replace").strip())
            return
        for key in typed.decode("utf-8", "replace"):
            action = self._actions.get(key)
            if action is not None:
                action()

    def _resume(self) -> None:
        """Take the keys again after `fg`: the shell has put the terminal back."""
        self._set(single=self._line is None)

    def _set(self, *, single: bool) -> None:
        """Have the terminal give single keys, or lines."""
        if self._descriptor is None or self._before is None or not _is_ours(self._descriptor):
            return
        modes = list(self._before)
        if single:
            modes[_FLAGS] &= ~(termios.ICANON | termios.ECHO)
        with suppress(termios.error):
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, modes)


def _terminal() -> int | None:
    """Return the descriptor of a terminal that is ours to read; None when there is none."""
    if sys.stdin is None or sys.stderr is None or os.environ.get("TERM") == "dumb":
        return None
    try:
        descriptor = sys.stdin.fileno()
        ours = os.isatty(descriptor) and sys.stderr.isatty() and _is_ours(descriptor)
    except (OSError, ValueError):
        return None
    return descriptor if ours else None


def _is_ours(descriptor: int) -> bool:
    """Tell whether this process is in the foreground; another one would be stopped for touching the terminal."""
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False
