"""Claims: which keys this process handles messages of, so that no other process that shares the schema does.

Session-level advisory locks on one connection of their own, asked for many at a time by one thread. They go when their
process goes, however that ends. What waits is asked for again after some milliseconds; a gate before each key lets those who
wait come before the one that has just let go.

After a lost connection what was claimed is claimed again, unless another process has it by then: its messages then meet at the
commit, where the log's order and the settlements decide.
"""

import asyncio
import logging
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import sleep
from typing import NamedTuple

import psycopg
from pydantic_core import to_json

from microlith.errors import StoreAwayError
from microlith.event_store.database.statements import statements
from microlith.event_store.postgres.connection import Connection, connect, run, said
from microlith.event_store.postgres.place import Place

logger = logging.getLogger("microlith.event_store")

_SHORTEST, _LONGEST = 0.002, 0.02
"""Seconds between two questions for keys that others have."""
_LOOK_SECONDS = 1.0
"""Seconds between two looks whether the connection that holds the claims is there."""
_MOST_JOINED = 64
"""How many messages of a key one claim is good for; then other processes come first."""
_PAUSE = 0.2
"""Seconds until a database that is away is asked again."""

Name = tuple[str, str]


class _Wanted(NamedTuple):
    name: Name
    claimed: "asyncio.Future[int]"


_Order = _Wanted | Name | None


class _Claim:
    """One claim: how many have it in this process, and how many had it since it was asked for."""

    __slots__ = ("ended", "had", "joined", "users")

    def __init__(self, had: "asyncio.Future[int]") -> None:
        self.had = had
        self.ended = asyncio.Event()
        self.users = 0
        self.joined = 0


class Claims:
    """The claims of one process. Belongs to the loop that made it; `close` ends them all."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._prefix = f"microlith {place.schema} "
        self._sql = statements("postgres_owning.sql")
        self._loop = asyncio.get_running_loop()
        self._claims: dict[Name, _Claim] = {}
        self._orders: SimpleQueue[_Order] = SimpleQueue()
        # The thread's: what is waited for, what is held, and whose gate is held by one that waits.
        self._waiting: dict[Name, _Wanted] = {}
        self._held: set[Name] = set()
        self._next: set[Name] = set()
        self._connection: Connection | None = None
        self._away = False
        self._thread = threading.Thread(target=self._work, name="microlith-store-claims", daemon=True)
        self._thread.start()

    async def take(self, handler: str, key: str) -> int | None:
        """Wait for a claim; return how many dead letters the key has, None when this process had claimed it already."""
        name = handler, key
        while (claim := self._claims.get(name)) is not None and claim.joined >= _MOST_JOINED:
            await claim.ended.wait()  # others wait for it, too
        first = claim is None
        if claim is None:
            claim = self._claims[name] = _Claim(self._loop.create_future())
            self._orders.put(_Wanted(name, claim.had))
        claim.users += 1
        claim.joined += 1
        try:
            letters = await asyncio.shield(claim.had)
        except asyncio.CancelledError:
            self.let_go(handler, key)
            raise
        return letters if first else None

    def let_go(self, handler: str, key: str) -> None:
        """End a claim; the last who had it lets others have it."""
        name = handler, key
        claim = self._claims[name]
        claim.users -= 1
        if claim.users < 1:
            del self._claims[name]
            claim.ended.set()
            self._orders.put(name)

    def close(self) -> None:
        """Let go of everything. Waits for the thread."""
        self._orders.put(None)
        self._thread.join()

    # From here on, on the thread.

    def _work(self) -> None:
        pause = _SHORTEST
        try:
            while (orders := self._ordered(self._patience(pause))) is not None:
                pause = min(pause * 2, _LONGEST)
                try:
                    if self._carry_out(orders):
                        pause = _SHORTEST
                except (psycopg.Error, StoreAwayError) as error:
                    self._lose(error)
        finally:
            self._drop()

    def _patience(self, pause: float) -> float | None:
        if self._waiting:
            return pause
        return _LOOK_SECONDS if self._held else None

    def _ordered(self, seconds: float | None) -> list[_Order] | None:
        """Wait for orders, at most so long, and take all there are; None for the end."""
        orders: list[_Order] = []
        try:
            orders.append(self._orders.get(timeout=seconds))
            while True:
                orders.append(self._orders.get_nowait())
        except Empty:
            return None if None in orders else orders

    def _carry_out(self, orders: list[_Order]) -> bool:
        """Let go of what is no longer needed, and ask for what is wanted; tell whether some of that was had."""
        gone = self._sorted(orders)
        connection = self._connected()
        if gone:
            run(connection, self._sql["let_go"], (self._prefix, to_json(gone).decode()))
        if not self._waiting:
            run(connection, "SELECT 1")
            return False
        asked = list(self._waiting)
        wanted = to_json([[*name, name in self._next] for name in asked]).decode()
        answers = [answer for (answer,) in run(connection, self._sql["claim"], (self._prefix, wanted))]
        self._next = {name for name, answer in zip(asked, answers, strict=True) if answer is None}
        had = [name for name, answer in zip(asked, answers, strict=True) if answer]
        if had:
            # Only now: what another process has buried with this key, it had buried before it let go.
            letters = run(connection, self._sql["count_letters"], (to_json(had).decode(),))
            self._held.update(had)
            self._tell([(self._waiting.pop(name), count) for name, (count,) in zip(had, letters, strict=True)])
        return bool(had)

    def _sorted(self, orders: list[_Order]) -> list[str]:
        """Take note of what is wanted; return the locks that are to be let go."""
        gone = []
        for order in orders:
            if isinstance(order, _Wanted):
                self._waiting[order.name] = order
            elif order is None:
                continue
            elif order in self._held:
                self._held.discard(order)
                gone.append(f"claim {order[0]} {order[1]}")
            elif self._waiting.pop(order, None) is not None and order in self._next:
                self._next.discard(order)
                gone.append(f"gate {order[0]} {order[1]}")
        return gone

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = connection = connect(self._place, "claims")
            held = [f"claim {handler} {key}" for handler, key in self._held]
            again = run(connection, self._sql["claim_again"], (self._prefix, to_json(held).decode())) if held else []
            if lost := sum(not had for (had,) in again):
                logger.warning(
                    "%d keys that are handled here were claimed by others while the connection was lost.", lost
                )
        return self._connection

    def _lose(self, error: Exception) -> None:
        if not self._away:
            logger.warning("Keys are claimed again when %s is back: %s", self._place.shown, said(error))
        self._away = True
        self._drop()
        self._next.clear()
        sleep(_PAUSE)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _tell(self, had: list[tuple[_Wanted, int]]) -> None:
        self._away = False
        with suppress(RuntimeError):  # the loop was closed under the store: there is nobody left to tell
            self._loop.call_soon_threadsafe(_resolve, had)


def _resolve(had: list[tuple[_Wanted, int]]) -> None:
    for wanted, letters in had:
        if not wanted.claimed.done():
            wanted.claimed.set_result(letters)
