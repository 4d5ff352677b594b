"""Signals: the first asks for an orderly end, the second for an end at once.

Knows no workers; says only which signal came.
"""

import asyncio
import signal
from collections.abc import Callable

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Listens for the signals that end a process.

    Also where they were ignored before, as in a background job: whoever sends one means it.

    Args:
        first: Called with the first one.
        again: Called with each one after that.
    """

    def __init__(self, first: Callable[[signal.Signals], None], again: Callable[[signal.Signals], None]) -> None:
        self._first = first
        self._again = again
        self._seen = False

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        for number in ENDING:
            loop.add_signal_handler(number, self._take, number)

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in ENDING:
            loop.remove_signal_handler(number)

    def _take(self, number: signal.Signals) -> None:
        seen, self._seen = self._seen, True
        (self._again if seen else self._first)(number)
