"""Retrying: dead letters that somebody has tried again, or drops.

Nothing is written before the handler has ended, so a crash in between leaves the letter as it was.

Tries nothing by itself: see `microlith.handlers.retries` for that.
"""

import asyncio
from time import monotonic

from microlith.context import Handling, HandlingOfLetter
from microlith.delivery.routes import Routes
from microlith.errors import BusFullError, MicrolithError
from microlith.event_store.protocol import DeadLetter, EventStore
from microlith.handlers.lanes import Lane
from microlith.messages import Message


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

    async def retry(self, sequence: int) -> None:
        """Have a dead letter tried again; return when that went well. Who asks meanwhile gets the same answer.

        Raises:
            UnknownDeadLetterError: There is none.
            HandlerGoneError: Its handler is gone.
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
        """
        if sequence in self._under_way:
            raise RetryUnderWayError(sequence)
        if not await self._store.drop_dead_letter(sequence):
            raise UnknownDeadLetterError(sequence)

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
        for sequence in list(self._under_way):
            self.end(sequence, error)

    async def _begin(self, sequence: int) -> None:
        letter = await self._store.dead_letter(sequence)
        if letter is None:
            raise UnknownDeadLetterError(sequence)
        envelope = await self._store.dead_message(letter)
        lane = self._lane(letter, type(envelope.message))
        if len(lane.queue) >= lane.limit:
            raise BusFullError(lane.spec.message.__kind__, lane.limit)
        lane.push_handling(HandlingOfLetter(lane.name, envelope, sequence, letter.attempts, monotonic()))

    def _lane(self, letter: DeadLetter, cls: type[Message]) -> Lane:
        """Find the lane of the handler that failed. A command has only one, whatever it is called by now."""
        route = self._routes.of(cls)
        for lane in route.lanes:
            if lane.durable and (route.kind == "command" or lane.name == letter.handler):
                return lane
        raise HandlerGoneError(letter)


def _look(ended: "asyncio.Future[None]") -> None:
    """Look at the outcome: whoever waited for it may have been cancelled before they could."""
    if not ended.cancelled():
        ended.exception()


def budget_used(handling: Handling) -> int:
    """Return how many tries of its budget a handling has used, this one included: a retried letter has a new budget."""
    return handling.attempt - handling.tried_before
