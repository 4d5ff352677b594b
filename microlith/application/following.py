"""Following: projections that are not inline, each kept up with the log by a task of its own.

A task sleeps until the log has grown. When it has caught up it rests a moment before it looks again, so that events
that come one by one are folded together; somebody who waits ends the rest.

How events are folded inside the store is the store's; how they are outside of it, see `outside`.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from time import time
from typing import Any, NamedTuple

from microlith.errors import Behind, CorruptionError, MicrolithError, StoreError, UnknownProjectionError
from microlith.event_store.protocol import EventStore, Rebuilt
from microlith.event_store.sharing import LedElsewhereError
from microlith.projections import ExternalProjection, Projection

logger = logging.getLogger("microlith.projections")

REST_SECONDS = 0.005
"""How long events are gathered; also how much later than it could be a read model may be."""
_LOOK_SECONDS = 0.02
"""Seconds between two looks at how far the process has come that leads those who share a store."""
_AFTER_FAILURE = 1.0
"""Seconds until a store that could not write is tried again."""

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class ProjectionStanding(NamedTuple):
    """Where a projection stands.

    Attributes:
        name: Full name, such as "auth.users".
        kind: "inline", "asynchronous" or "external".
        checkpoint: Last global position folded; -1 for none.
        behind: Positions between that and the end of the log.
        seconds: Age of the oldest event not folded yet; 0.0 when it is not behind.
        error: Why it stopped; None while it runs.
        stopped_at: Type of the event it stopped at; None while it runs.
    """

    name: str
    kind: str
    checkpoint: int
    behind: int
    seconds: float
    error: str | None
    stopped_at: str | None


class Follower(ABC):
    """Keeps one projection up with the log.

    Attributes:
        name: Its full name.
    """

    def __init__(self, name: str, store: EventStore) -> None:
        self.name = name
        self._store = store
        self._news = asyncio.Event()
        self._rest: asyncio.Future[None] | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._broken: str | None = None
        self._closed: MicrolithError | None = None

    async def run(self) -> None:
        """Follow until cancelled, or until the log cannot be read or the store not be written any more."""
        while self._broken is None:
            self._news.clear()
            try:
                await self._catch_up()
            except CorruptionError as error:
                self._break(error)
            except StoreError as error:
                if self._store.failure is not None:
                    self._break(error)
                else:
                    logger.warning("Projection %s could not be written, and is tried again: %s", self.name, error)
                    await asyncio.sleep(_AFTER_FAILURE)
                    continue
            self._tell()
            await self._pause()
            await self._news.wait()

    def grown(self) -> None:
        """Look at the log again: it has grown, or the projection was changed."""
        self._news.set()

    def failing(self) -> str | None:
        """Say why it does not go on; None while it does."""
        return self._store.reached(self.name).error or self._broken

    async def passed(self, position: int) -> None:
        """Wait until it has passed a position, or does not go on."""
        while self._store.reached(self.name).checkpoint < position and self.failing() is None:
            if self._closed is not None:
                raise self._closed
            moved = asyncio.get_running_loop().create_future()
            self._waiting.add(moved)
            try:
                if self._rest is not None and not self._rest.done():
                    self._rest.set_result(None)
                await moved
            finally:
                self._waiting.discard(moved)

    def close(self, error: MicrolithError) -> None:
        """Tell those who wait that it goes no further."""
        self._closed = error
        self._tell()

    @abstractmethod
    async def step(self) -> None:
        """Fold some of the next events, unless it has stopped."""
        ...

    @abstractmethod
    async def rebuild(self, progress: Callable[[int, int], None]) -> Rebuilt:
        """Build what it keeps anew."""
        ...

    async def _catch_up(self) -> None:
        while self.failing() is None and self._store.reached(self.name).checkpoint < await self._store.head():
            if self._store.leads:
                await self.step()
            else:
                await asyncio.sleep(_LOOK_SECONDS)  # another process folds, and the store hears of it
            self._tell()
            await asyncio.sleep(0)

    def _tell(self) -> None:
        for moved in self._waiting:
            if not moved.done():
                moved.set_result(None)

    def _break(self, error: StoreError) -> None:
        self._broken = f"{type(error).__name__}: {error}"
        logger.critical("Projection %s follows the log no more: %s", self.name, error)

    async def _pause(self) -> None:
        if self._waiting:
            return
        loop = asyncio.get_running_loop()
        self._rest = rest = loop.create_future()
        timer = loop.call_later(REST_SECONDS, _end, rest)
        try:
            await rest
        finally:
            timer.cancel()
            self._rest = None


class InsideFollower(Follower):
    """Follows with a projection whose rows are in the store."""

    async def step(self) -> None:
        """Fold a page."""
        await self._store.advance(self.name)

    async def rebuild(self, progress: Callable[[int, int], None]) -> Rebuilt:
        """Build the rows anew beside the live ones, and switch."""
        rebuilt = await self._store.rebuild(self.name, progress)
        self.grown()
        return rebuilt


class Followers:
    """Every projection of a running application, and the followers of those that are not inline."""

    def __init__(
        self, store: EventStore, projections: Sequence[Projection | ExternalProjection], followers: Iterable[Follower]
    ) -> None:
        self._store = store
        self._projections = projections
        self._followers: Mapping[str, Follower] = {follower.name: follower for follower in followers}

    def start(self, spawn: Spawn) -> None:
        """Begin to follow. Without followers nothing is begun, and nobody watches the log."""
        for follower in self._followers.values():
            spawn(follower.run(), f"microlith projection {follower.name}")
        if self._followers:
            self._store.watch(self._grown)

    def close(self, error: MicrolithError) -> None:
        """End the waits; whoever holds the tasks cancels them."""
        for follower in self._followers.values():
            follower.close(error)

    def of(self, name: str) -> Follower | None:
        """Return what follows with a projection; None for one that is inline, or not there."""
        return self._followers.get(name)

    def names_of(self, wanted: Any) -> list[str]:
        """Find the full names of projections: given themselves, by full or short name, or by a read model they keep.

        Raises:
            UnknownProjectionError: There is none, or several have the short name.
        """
        names: list[str] = []
        for one in wanted if isinstance(wanted, Iterable) and not isinstance(wanted, str | type) else [wanted]:
            if isinstance(one, type):
                found = [each.name for each in self._projections if one in each.rows]
                shown = one.__name__
            else:
                shown = one if isinstance(one, str) else str(getattr(one, "name", one))
                found = [each.name for each in self._projections if each.name == shown]
                short = [each.name for each in self._projections if each.short_name == shown]
                found = found or (short if len(short) == 1 else [])
            if not found:
                raise UnknownProjectionError(shown, [each.name for each in self._projections])
            names += found
        return list(dict.fromkeys(names))

    async def idle(self, deadline: float) -> bool:
        """Wait until all are at the end of the log or have stopped; tell whether that came before the deadline.

        Args:
            deadline: Seconds of the loop's clock.
        """
        head = await self._store.head()
        await self._passed(self._followers, head, deadline)
        return all(
            follower.failing() is not None or self._store.reached(name).checkpoint >= head
            for name, follower in self._followers.items()
        )

    async def behind(self, names: Sequence[str], correlation_id: str, deadline: float) -> tuple[Behind, ...]:
        """Wait until projections have passed all events that a correlation has now; return those that did not.

        One that has stopped is not waited for.

        Args:
            names: Full names.
            correlation_id: Whose events.
            deadline: Seconds of the loop's clock.
        """
        if all(name not in self._followers and self._store.reached(name).error is None for name in names):
            return ()  # inline: what is recorded is folded
        events = await self._store.read_correlation(correlation_id)
        position = events[-1].position if events else -1
        await self._passed(names, position, deadline)
        found = []
        for name in names:
            checkpoint, error = self._store.reached(name)
            if checkpoint < position:
                follower = self._followers.get(name)
                found.append(Behind(name, position - max(checkpoint, -1), follower.failing() if follower else error))
        return tuple(found)

    async def rebuild(self, name: str, progress: Callable[[int, int], None]) -> Rebuilt:
        """Build a projection anew.

        Raises:
            UnknownProjectionError: There is none of that name.
            HandlerFailedError: It raised.
            LedElsewhereError: Another process leads those who share the store.
        """
        sharing = self._store.sharing
        if sharing is not None and not self._store.leads:
            raise LedElsewhereError("Building a projection anew", sharing.leader)
        follower = self._followers.get(name)
        return await (self._store.rebuild(name, progress) if follower is None else follower.rebuild(progress))

    async def standings(self) -> list[ProjectionStanding]:
        """Say where every projection stands."""
        head = await self._store.head()
        return [await self._standing(projection, head) for projection in self._projections]

    async def _standing(self, projection: Projection | ExternalProjection, head: int) -> ProjectionStanding:
        name, kind = projection.name, projection.kind
        checkpoint, error = self._store.reached(name)
        checkpoint = max(checkpoint, -1)
        if name in self._followers:
            error = self._followers[name].failing()
        elif error is None:
            return ProjectionStanding(name, kind, checkpoint, 0, 0.0, None, None)
        try:
            following = await self._store.read_all(after=checkpoint, limit=1) if checkpoint < head else []
        except CorruptionError:
            following = []
        seconds = max(0.0, time() - following[0].time) if following else 0.0
        stopped_at = following[0].type if following and error is not None else None
        return ProjectionStanding(name, kind, checkpoint, max(0, head - checkpoint), seconds, error, stopped_at)

    async def _passed(self, names: Iterable[str], position: int, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                for name in names:
                    follower = self._followers.get(name)
                    if follower is not None:
                        await follower.passed(position)
        except TimeoutError:
            pass

    def _grown(self) -> None:
        for follower in self._followers.values():
            follower.grown()


def _end(rest: "asyncio.Future[None]") -> None:
    if not rest.done():
        rest.set_result(None)
