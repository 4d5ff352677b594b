"""Signals: the first asks for an orderly end, the second for an end at once.

Knows no workers; says only which signal came.
"""

import asyncio
import signal
from collections.abc import Callable

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Listens for the signals that end a process.

    SIGINT also where it was ignored before, as shells do with background jobs: whoever sends it means it. SIGHUP not:
    under nohup, the end of the terminal is to be survived.

    Args:
        first: Called with the first one.
        again: Called with each one after that.
    """

    def __init__(self, first: Callable[[signal.Signals], None], again: Callable[[signal.Signals], None]) -> None:
        self._first = first
        self._again = again
        self._seen = False
        self._heard = [
            number for number in ENDING if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
        ]

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        for number in self._heard:
            loop.add_signal_handler(number, self._take, number)

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in self._heard:
            loop.remove_signal_handler(number)

    def _take(self, number: signal.Signals) -> None:
        seen, self._seen = self._seen, True
        (self._again if seen else self._first)(number)
