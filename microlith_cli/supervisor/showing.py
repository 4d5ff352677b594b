"""Showing: what the supervisor has to say, on its way to the screen.

A thread of its own writes, so that a terminal that stands still (Ctrl-S, a pager) stops neither the
control channel nor a reload. Facts it is too slow for are dropped and counted; what the user's code
printed is never dropped, its reader waits instead.

Draws nothing itself: that is the screen's part.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

Fact = dict[str, Any]

FACTS_AT_MOST = 5_000
LINES_AT_MOST = 1_000
_AT_A_TIME = 100
_LAST_WORDS_SECONDS = 0.3


class Screen(Protocol):
    """Where `run` shows what happens. Every method is called from one thread."""

    def card(self, card: Fact) -> None:
        """Show what serves now, in a few lines."""
        ...

    def facts(self, facts: Sequence[Fact]) -> None:
        """Show trace facts."""
        ...

    def note(self, text: str) -> None:
        """Say one thing in one line."""
        ...

    def failed(self, error: Fact, meanwhile: str) -> None:
        """Show why the user's code cannot be used, and what is done meanwhile."""
        ...

    def output(self, stream: str, line: str) -> None:
        """Pass on a line the user's code printed; `stream` is "stdout" or "stderr"."""
        ...

    def prompt(self, text: str) -> None:
        """Ask for a line; what is typed stands behind it."""
        ...

    def expand(self, expanded: bool) -> None:
        """Show payloads whole, or in a line."""
        ...

    def close(self) -> None:
        """Show nothing more; leave the terminal as it was."""
        ...


class Showing:
    """Hands things to a screen from a thread of its own.

    Args:
        screen: The screen.
        on_closed: Called on the loop, once, when nobody can read any more (a closed pipe) or drawing fails; gets
            the error.

    Attributes:
        passes: Which facts are shown.
    """

    def __init__(self, screen: Screen, on_closed: Callable[[Exception], None]) -> None:
        self._screen = screen
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()
        self._actions: deque[Callable[[], None]] = deque()
        self._facts: list[Fact] = []
        self._dropped = 0
        self._over = False
        self._broken = False
        self._paused = False
        self._frozen = False
        self._expanded = False
        self._prompting = False
        self.passes: Callable[[Fact], bool] | None = None
        self._thread = threading.Thread(target=self._draw, name="microlith-screen", daemon=True)
        self._thread.start()

    def facts(self, facts: Sequence[Fact]) -> None:
        """Show trace facts, as many as there is room for."""
        if self.passes is not None:
            facts = list(filter(self.passes, facts))
        with self._changed:
            room = FACTS_AT_MOST - len(self._facts)
            self._facts.extend(facts[:room])
            self._dropped += max(0, len(facts) - room)
            self._changed.notify()

    def card(self, card: Fact) -> None:
        """Show what serves now."""
        self._add(lambda: self._screen.card(card))

    def note(self, text: str) -> None:
        """Say one thing in one line."""
        self._add(lambda: self._screen.note(text))

    def failed(self, error: Fact, meanwhile: str) -> None:
        """Show why the user's code cannot be used."""
        self._add(lambda: self._screen.failed(error, meanwhile))

    def output(self, stream: str, line: str) -> None:
        """Pass on a line the user's code printed."""
        self._add(lambda: self._screen.output(stream, line))

    def pause(self) -> bool:
        """Keep facts back, or go on showing them; tell whether they are kept back now."""
        with self._changed:
            self._paused = not self._paused
            self._changed.notify()
            return self._paused

    def expand(self) -> bool:
        """Show payloads whole, or no longer; tell which."""
        self._expanded = expanded = not self._expanded
        self._add(lambda: self._screen.expand(expanded))
        return expanded

    def prompt(self, text: str) -> None:
        """Ask for a line, whatever else is kept back."""
        with self._changed:
            self._actions.appendleft(lambda: self._screen.prompt(text))
            self._prompting = True
            self._changed.notify()

    def freeze(self) -> None:
        """Keep everything back while somebody types."""
        with self._changed:
            self._frozen = True

    def go_on(self) -> None:
        """Show what was kept back while somebody typed."""
        with self._changed:
            self._frozen = False
            self._changed.notify()

    async def room(self) -> None:
        """Wait until there is room for more lines."""
        while len(self._actions) > LINES_AT_MOST and not self._broken:  # noqa: ASYNC110 (a thread makes room)
            await asyncio.sleep(0.01)

    async def close(self) -> bool:
        """Show what is left, then nothing more.

        Returns:
            Whether the thread has ended; if not, it is stuck writing, and so would be an orderly exit.
        """
        with self._changed:
            self._over = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join, _LAST_WORDS_SECONDS)
        return not self._thread.is_alive()

    def _add(self, action: Callable[[], None]) -> None:
        with self._changed:
            if not self._broken:
                self._actions.append(action)
                self._changed.notify()

    def _draw(self) -> None:
        try:
            while self._draw_some():
                pass
            self._screen.close()
        except Exception as error:  # noqa: BLE001 (drawing must not end the microlith; the owner is told)
            with self._changed:
                self._broken = True
                self._actions.clear()
            self._loop.call_soon_threadsafe(self._on_closed, error)

    def _has_something(self) -> bool:
        if self._over or self._prompting:
            return True
        if self._frozen:
            return False
        return bool(self._actions or (not self._paused and (self._facts or self._dropped)))

    def _draw_some(self) -> bool:
        """Show what has gathered; False when that was the last."""
        with self._changed:
            self._changed.wait_for(self._has_something)
            prompted, self._prompting = self._prompting, False
            most = _AT_A_TIME if self._over or not self._frozen else int(prompted)
            actions = [self._actions.popleft() for _ in range(min(len(self._actions), most))]
            facts, dropped = [], 0
            if self._over or not (self._paused or self._frozen):
                facts, self._facts = self._facts, []
                dropped, self._dropped = self._dropped, 0
            over = self._over and not self._actions
        for action in actions:
            action()
        if dropped:
            facts.append(dropped_fact(dropped))
        if facts:
            self._screen.facts(facts)
        return not over


def dropped_fact(count: int) -> Fact:
    """The fact that stands for facts there was no room for."""
    moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return {"specversion": "1.0", "type": "microlith.dropped", "time": moment, "data": {"count": count}}
