"""Retrying: dead letters that somebody has tried again, or drops.

Nothing is written before the handler has ended, so a crash in between leaves the letter as it was.

Tries nothing by itself: see `microlith.handlers.retries` for that.
"""

import asyncio
import logging
from collections.abc import Iterable
from time import monotonic

from microlith.context import Handling, HandlingOfLetter
from microlith.delivery.patience import patiently
from microlith.delivery.routes import Routes
from microlith.errors import BusFullError, HandlerFailedError, MicrolithError
from microlith.event_store.protocol import DeadLetter, EventStore, KeyedLetters, Settlement, Unit
from microlith.event_store.sharing import LedElsewhereError
from microlith.handlers.lanes import Lane
from microlith.ids import short_id
from microlith.messages import Message

logger = logging.getLogger("microlith")

_MOST_BEGUN = 5
"""How often a parked letter is tried by itself; it is counted, because the process may end each time."""
_FULL = 0.05
"""Seconds until a parked letter is tried again whose handler's queue was full."""


class UnknownDeadLetterError(MicrolithError):
    """There is no such dead letter; it may have been there before."""

    def __init__(self, sequence: int) -> None:
        super().__init__(
            f"There is no dead letter {sequence}.",
            hint="It may have been tried again with success, or dropped. `microlith dead-letters` lists those there are.",
        )
        self.sequence = sequence


class RetryUnderWayError(MicrolithError):
    """A dead letter cannot be dropped while it is tried again."""

    def __init__(self, sequence: int) -> None:
        super().__init__(f"Dead letter {sequence} is being tried again just now.", hint="Drop it when that has ended.")
        self.sequence = sequence


class ParkedError(MicrolithError):
    """A parked dead letter cannot be tried again before the one that it stands behind."""

    def __init__(self, letter: DeadLetter, head: DeadLetter) -> None:
        super().__init__(
            f"Dead letter {letter.sequence} is parked behind dead letter {head.sequence} "
            f"({short_id(head.message_id)}), which is of the same key and came first.",
            hint=f"Have {short_id(head.message_id)} tried again, or drop it; those behind it go on by themselves then.",
        )
        self.sequence = letter.sequence
        self.head = head.sequence


class HandlerGoneError(MicrolithError):
    """The handler that gave a message up does not take messages of that type any more."""

    def __init__(self, letter: DeadLetter) -> None:
        super().__init__(
            f"There is no handler {letter.handler or 'at all'} for {letter.type} any more, "
            f"so dead letter {letter.sequence} cannot be tried again.",
            hint="Give the handler its name back, or drop the dead letter.",
        )
        self.handler = letter.handler


class Retrying:
    """The dead letters of one application that are being tried again."""

    def __init__(self, store: EventStore, routes: Routes) -> None:
        self._store = store
        self._routes = routes
        self._under_way: dict[int, asyncio.Future[None]] = {}
        self._going_on: dict[tuple[str, str], asyncio.Task[None]] = {}

    @property
    def goes_on(self) -> bool:
        """Whether parked letters are tried, one after the other."""
        return bool(self._going_on)

    async def retry(self, sequence: int) -> None:
        """Have a dead letter tried again; return when that went well. Who asks meanwhile gets the same answer.

        Raises:
            UnknownDeadLetterError: There is none.
            ParkedError: It is parked behind another one.
            HandlerGoneError: Its handler is gone.
            LedElsewhereError: It is for the process that leads.
            UnknownTypeError: Its type is gone.
            PayloadError: It does not fit its class any more.
            BusFullError: Its handler's queue is full.
            HandlerFailedError: It failed again.
            ClosedError: The application stopped first; the letter is as it was.
        """
        ended = self._under_way.get(sequence)
        if ended is None:
            ended = self._under_way[sequence] = asyncio.get_running_loop().create_future()
            ended.add_done_callback(_look)
            try:
                await self._begin(sequence)
            except BaseException as error:
                self.end(sequence, error)
                raise
        await asyncio.shield(ended)

    async def drop(self, sequence: int) -> None:
        """Remove a dead letter.

        Raises:
            UnknownDeadLetterError: There is none.
            RetryUnderWayError: It is being tried again.
            LedElsewhereError: It is for the process that leads.
        """
        if sequence in self._under_way:
            raise RetryUnderWayError(sequence)
        letter = await self._store.dead_letter(sequence)
        if letter is not None:
            self._check_led(letter)
        if letter is None or not await self._store.drop_dead_letter(sequence):
            raise UnknownDeadLetterError(sequence)
        if letter.key is not None:
            for lane in self._routes.lanes():
                if lane.name == letter.handler:
                    self._gone(lane, letter.key)

    def succeeded(self, lane: Lane, sequence: int, key: str | None) -> None:
        """Tell who waits that a retry went well; let those go on that are parked behind it."""
        self.end(sequence, None)
        if key is not None:
            self._gone(lane, key)

    async def load(self, lanes: Iterable[Lane]) -> list[KeyedLetters]:
        """Block the keys of lanes that have dead letters; return those whose turn had come when a process ended."""
        by_name = {lane.name: lane for lane in lanes if lane.spec.parks}
        waiting = []
        for found in await self._store.keyed_letters():
            lane = by_name.get(found.handler)
            if lane is not None and lane.keyed is not None:
                lane.keyed.blocked[found.key] = found.letters
                if found.waits:
                    waiting.append(found)
        return waiting

    def go_on(self, waiting: Iterable[KeyedLetters]) -> None:
        """Let those go on that are parked behind a letter which is gone."""
        lanes = {lane.name: lane for lane in self._routes.lanes() if lane.spec.parks}
        for found in waiting:
            lane = lanes.get(found.handler)
            if lane is not None and lane.keyed is not None:
                lane.keyed.blocked.setdefault(found.key, found.letters)
                self._let_go_on(lane, found.key)

    def end(self, sequence: int, error: BaseException | None) -> None:
        """Tell those who wait how a retry ended."""
        ended = self._under_way.pop(sequence, None)
        if ended is None or ended.done():
            return
        if error is None:
            ended.set_result(None)
        elif isinstance(error, Exception):
            ended.set_exception(error)
        else:
            ended.cancel()

    def end_all(self, error: MicrolithError) -> None:
        """End every retry: the application stops."""
        for task in self._going_on.values():
            task.cancel()
        for sequence in list(self._under_way):
            self.end(sequence, error)

    def _gone(self, lane: Lane, key: str) -> None:
        if not lane.spec.parks or lane.keyed is None:
            return
        if lane.claims is not None:  # others may have parked some: the store will say whether there are more
            lane.keyed.know(key, lane.keyed.blocked.get(key, 0) + 2)
        if lane.keyed.unblock(key):
            self._let_go_on(lane, key)

    def _let_go_on(self, lane: Lane, key: str) -> None:
        if (lane.name, key) not in self._going_on:
            name = f"microlith parked {lane.name}"
            task = asyncio.get_running_loop().create_task(self._go_on(lane, key), name=name)
            self._going_on[lane.name, key] = task

    async def _go_on(self, lane: Lane, key: str) -> None:
        """Try the parked letters of a key, one after the other, until one fails or none is left."""
        keyed = lane.keyed
        try:
            while keyed is not None and key in keyed.blocked:
                known = keyed.blocked[key]
                await patiently(self._store.flush)  # what is parked is not written at once
                letter = await patiently(lambda: self._store.first_letter(lane.name, key))
                if letter is None and keyed.blocked.get(key) == known:
                    del keyed.blocked[key]  # somebody has removed them without a word
                elif letter is not None and (letter.behind is None or not await self._try_parked(letter)):
                    return
        except HandlerFailedError:
            pass  # that is told; the letter is the first of its key now, and the others stay
        except MicrolithError as error:
            logger.error("The parked dead letters of %s do not go on: %s", lane.name, error)  # noqa: TRY400
        finally:
            self._going_on.pop((lane.name, key), None)

    async def _try_parked(self, letter: DeadLetter) -> bool:
        """Try a parked letter; tell whether the next one may follow. Counted, since it may end the process."""
        envelope = await patiently(lambda: self._store.dead_message(letter))
        begun = await patiently(lambda: self._store.begin_again(letter.handler, envelope))
        if begun > _MOST_BEGUN:
            reason = f"The process ended {_MOST_BEGUN} times while this message was handled."
            settlement = Settlement(letter.handler, envelope, None, -1, reason, begun - 1, letter.sequence)
            self._store.complete(Unit([], settlement), lambda *_: None)
            logger.error("Dead letter %d: %s", letter.sequence, reason)
            return False
        while True:
            try:
                await self.retry(letter.sequence)
            except BusFullError:
                await asyncio.sleep(_FULL)
            except UnknownDeadLetterError:
                return True  # somebody has retried or dropped it meanwhile
            else:
                return True

    async def _begin(self, sequence: int) -> None:
        letter = await self._store.dead_letter(sequence)
        if letter is None:
            raise UnknownDeadLetterError(sequence)
        self._check_led(letter)
        envelope = await self._store.dead_message(letter)
        lane = self._lane(letter, type(envelope.message))
        if letter.key is not None and lane.spec.parks:
            head = await self._store.first_letter(letter.handler, letter.key)
            if head is not None and head.sequence != sequence:
                raise ParkedError(letter, head)
        if len(lane.queue) >= lane.limit:
            raise BusFullError(lane.spec.message.__kind__, lane.limit)
        lane.push_handling(HandlingOfLetter(lane.name, envelope, sequence, letter.attempts, monotonic(), letter.key))

    def _check_led(self, letter: DeadLetter) -> None:
        """Refuse to touch what a handler of events has left, where another process has that handler, and knows its keys."""
        sharing = self._store.sharing
        if sharing is not None and not self._store.leads and letter.position is not None:
            raise LedElsewhereError(f"Dead letter {letter.sequence}, of a handler of events,", sharing.leader)

    def _lane(self, letter: DeadLetter, cls: type[Message]) -> Lane:
        """Find the lane of the handler that failed. A command has only one, whatever it is called by now."""
        route = self._routes.of(cls)
        lanes = [lane for lane in route.handling if lane.durable]
        for lane in lanes:
            if lane.name == letter.handler:
                return lane
        if route.kind == "command" and lanes:
            return lanes[0]
        raise HandlerGoneError(letter)


def _look(ended: "asyncio.Future[None]") -> None:
    """Look at the outcome: whoever waited for it may have been cancelled before they could."""
    if not ended.cancelled():
        ended.exception()


def budget_used(handling: Handling) -> int:
    """Return how many tries of its budget a handling has used, this one included: a retried letter has a new budget."""
    return handling.attempt - handling.tried_before
