"""What an application offers about what its store keeps: dead letters, schedules, personal fields.

Does none of it: see `microlith.delivery.retrying`, `microlith.delivery.timers` and `erasing`.
"""

from abc import ABC, abstractmethod

from microlith.application.erasing import Erasing, Erasure
from microlith.delivery import Delivery
from microlith.event_store.schedule import Schedule


class StoreSide(ABC):
    """The part of a microlith that is about its store."""

    async def retry_dead_letter(self, sequence: int) -> None:
        """Have the handler that gave a message up try it again, with a new budget of tries; return when that went well.

        What it sends and the end of the dead letter are one commit. If it fails again, the dead letter has the new
        error. Whoever stops waiting does not stop the retry. Not for handlers: one would wait for its own queue.

        Args:
            sequence: The dead letter's, as `app.store.dead_letters()` tells it.

        Raises:
            HandlerFailedError: It failed again; the error is the cause.
            UnknownDeadLetterError: There is no such dead letter.
            HandlerGoneError: The handler is not there any more.
            ClosedError: The application stopped first; the dead letter is as it was.
        """
        await self._taking().retrying.retry(sequence)

    async def drop_dead_letter(self, sequence: int) -> None:
        """Remove a dead letter for good. Waits on its correlation no longer find the failure.

        Raises:
            UnknownDeadLetterError: There is no such dead letter.
            RetryUnderWayError: It is being tried again.
        """
        await self._taking().retrying.drop(sequence)

    async def schedules(self, *, limit: int = 500) -> list[Schedule]:
        """List the messages that are to be sent later, in the order in which they are due.

        To read on: `app.store.schedules(after=schedules[-1].turn)`.
        """
        return await self._running().store.schedules(limit=limit)

    async def cancel_schedule(self, message_id: str) -> bool:
        """Have a scheduled message not sent after all; tell whether it was still there.

        At once, also within a handler. To have it in the handler's commit, return `Cancelled` from it.

        Args:
            message_id: The message's, as its receipt or `app.schedules()` tells it.
        """
        return await self._taking().timers.cancel(message_id)

    async def erase(self, *subjects: str, dry_run: bool = False) -> Erasure:
        """Erase what is stored about subjects in fields marked `Personal`, for good, by destroying their keys.

        Afterwards these fields read as erased in events, commands and dead letters; read models are built anew; the
        trace log is begun anew. The log's bytes stay as they are. An erasure that is interrupted is finished by the
        next start. A message that is on its way meanwhile counts as sent afterwards.

        Args:
            subjects: Whose, as the fields name them that the marks name.
            dry_run: Only count.

        Raises:
            UnknownSubjectError: Nothing is stored for one of them; nothing was erased.
        """
        if not subjects:
            raise ValueError("Name one or more subjects.")
        return await self._erasures().erase(subjects, dry_run=dry_run)

    @abstractmethod
    def _running(self) -> Delivery:
        """Return the running heart."""
        ...

    @abstractmethod
    def _taking(self) -> Delivery:
        """Return the running heart, if it takes messages from outside on this loop."""
        ...

    @abstractmethod
    def _erasures(self) -> Erasing:
        """Return what erases subjects."""
        ...
