"""The keyboard of `run`: what each key does.

r reload   f filter   d dispatch the last message again   p pause   e expand   q quit   ? these
"""

import asyncio
from collections.abc import Callable, Coroutine

from microlith_cli.errors import UsageError
from microlith_cli.filtering import compile_filter
from microlith_cli.supervisor.keys import Keys
from microlith_cli.supervisor.showing import Showing
from microlith_cli.supervisor.supervisor import Supervisor

LEGEND = "r reload  f filter  d dispatch again  p pause  e expand  q quit"


class Keyboard:
    """Does what keys ask for.

    Args:
        supervisor: Keeps the worker.
        showing: What is shown.
        stop: Ends the run.
    """

    def __init__(self, supervisor: Supervisor, showing: Showing, stop: Callable[[], None]) -> None:
        self._supervisor = supervisor
        self._showing = showing
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking = False
        self.keys = Keys(
            {
                "r": lambda: self._begin(self._reload()),
                "f": lambda: self._begin(self._ask_filter()),
                "d": self._dispatch_again,
                "p": self._pause,
                "e": self._expand,
                "q": stop,
                "?": lambda: showing.note(LEGEND),
                "h": lambda: showing.note(LEGEND),
            }
        )

    def close(self) -> None:
        """Begin nothing more."""
        for task in self._tasks:
            task.cancel()

    def _begin(self, doing: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload(self) -> None:
        await self._supervisor.reload()  # what came of it is shown as a fact, or as an error

    async def _ask_filter(self) -> None:
        if self._asking:
            return
        self._asking = True
        self._showing.freeze()
        self._showing.prompt("filter: ")
        try:
            text = await self.keys.line()
            self._showing.passes = compile_filter(text)
            self._showing.note(
                f"Only what passes {text!r} is shown; an empty filter shows all." if text else "All is shown."
            )
        except UsageError as error:
            self._showing.note(f"{error} {error.hint}".strip())
        finally:
            self._asking = False
            self._showing.go_on()

    def _dispatch_again(self) -> None:
        name = self._supervisor.forwarding.dispatch_again()
        self._showing.note(f"{name} is sent again." if name else "Nothing was dispatched since this run began.")

    def _pause(self) -> None:
        if self._showing.pause():
            self._showing.note("Paused; p goes on. What comes meanwhile is kept as far as there is room.")

    def _expand(self) -> None:
        expanded = self._showing.expand()
        self._showing.note(
            "Payloads are shown whole; e shortens them." if expanded else "Payloads are shown in one line."
        )
