"""What a handler returns to have something done later, or not after all.

Both go into the handler's commit, together with whatever else it sends.

    return [TakePaymentCommand(...), Scheduled(CancelOrderCommand(...), after=timedelta(minutes=30), name="deadline")]
    return Cancelled("deadline")

Keeps nothing and tells no time: see `microlith.delivery.timers`.
"""

from datetime import UTC, datetime, timedelta
from sys import float_info
from typing import Any, Generic, TypeVar

from microlith.envelope import Envelope
from microlith.errors import MicrolithError

M = TypeVar("M")

After = timedelta | float


class ScheduleError(MicrolithError):
    """A message cannot be scheduled as it was asked for; nothing was kept."""


class When:
    """A moment, or so much time from now on.

    Attributes:
        steady: Whether it is so much time from now on.
        seconds: Since the epoch, or from now on.
    """

    __slots__ = ("seconds", "steady")

    def __init__(self, at: datetime | None, after: After | None) -> None:
        """Read one of the two.

        Raises:
            ScheduleError: Both, neither, or something that is no moment to come.
        """
        if (at is None) == (after is None):
            raise ScheduleError(
                f"A message is scheduled either `at` a moment or `after` some time; not {'neither' if at is None else 'both'}.",
                hint="Such as `after=timedelta(minutes=30)`, or `at=datetime(2030, 1, 1, tzinfo=UTC)`.",
            )
        self.steady = at is None
        self.seconds = _moment(at) if at is not None else _length(after)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, When) and (self.steady, self.seconds) == (other.steady, other.seconds)

    def __hash__(self) -> int:
        return hash((self.steady, self.seconds))


class Scheduled(Generic[M]):
    """A command or event that is to be sent later. Returned from a handler; goes into its commit.

    Attributes:
        message: The message, or its envelope.
        when: When it is to be sent.
        name: What to cancel or replace it by; None for most.
    """

    __slots__ = ("message", "name", "when")

    def __init__(
        self,
        message: M | Envelope[M],
        *,
        at: datetime | None = None,
        after: After | None = None,
        name: str | None = None,
    ) -> None:
        """Ask for a message later on.

        Args:
            message: A command or event; it gets this correlation, and is caused by the message being handled.
            at: The moment; with a time zone.
            after: How long after the handler has returned: a timedelta, or seconds.
            name: Unique within the correlation: an earlier one of that name is replaced. `Cancelled(name)` cancels it.

        Raises:
            ScheduleError: Not exactly one of `at` and `after`, or no moment to come; or the name is empty.
        """
        self.message = message
        self.when = When(at, after)
        self.name = checked_name(name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scheduled) and (self.message, self.when, self.name) == (
            other.message,
            other.when,
            other.name,
        )

    def __hash__(self) -> int:
        return hash((Scheduled, self.when, self.name))

    def __repr__(self) -> str:
        steady, seconds = self.when.steady, self.when.seconds
        when = f"after={timedelta(seconds=seconds)}" if steady else f"at={datetime.fromtimestamp(seconds, UTC)}"
        return f"Scheduled({self.message!r}, {when}{f', name={self.name!r}' if self.name else ''})"


class Cancelled:
    """That a scheduled message is not to be sent after all. Returned from a handler; goes into its commit.

    When the message was sent already, or there never was one, nothing happens: whoever handles it decides then.

    Attributes:
        name: Name of the schedule, in the correlation of the message being handled; None when it is meant by id.
        message_id: Message id of the schedule.
    """

    __slots__ = ("message_id", "name")

    def __init__(self, name: str | None = None, *, message_id: str | None = None) -> None:
        """Name a schedule of this correlation, or give the message id of any.

        Raises:
            ScheduleError: Not exactly one of the two.
        """
        if (name is None) == (message_id is None):
            raise ScheduleError(
                "A schedule is cancelled by its name or by its message id.", hint='`Cancelled("deadline")`'
            )
        self.name = checked_name(name)
        self.message_id = message_id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cancelled) and (self.name, self.message_id) == (other.name, other.message_id)

    def __hash__(self) -> int:
        return hash((Cancelled, self.name, self.message_id))

    def __repr__(self) -> str:
        return f"Cancelled({self.name!r})" if self.name else f"Cancelled(message_id={self.message_id!r})"


def checked_name(name: Any) -> str | None:
    """Return the name of a schedule.

    Raises:
        ScheduleError: It is none that can be kept.
    """
    if name is None or (isinstance(name, str) and name and "\0" not in name and name.isprintable()):
        return name
    raise ScheduleError(f"{name!r} cannot name a schedule.", hint="Use a text such as 'payment-deadline'.")


def _moment(at: Any) -> float:
    if not isinstance(at, datetime):
        raise ScheduleError(
            f"`at` is a datetime, not {at!r}.", hint="For a number of seconds from now on, use `after`."
        )
    if at.tzinfo is None:
        raise ScheduleError(
            f"`at` needs a time zone; {at.isoformat()} has none.",
            hint="Such as `datetime.now(UTC) + timedelta(hours=1)`.",
        )
    return at.timestamp()


def _length(after: Any) -> float:
    if isinstance(after, timedelta):
        after = after.total_seconds()
    if isinstance(after, bool) or not isinstance(after, int | float) or not 0 <= after <= float_info.max:
        raise ScheduleError(
            f"`after` is a timedelta or a number of seconds, not negative; not {after!r}.",
            hint="Such as `after=timedelta(minutes=30)` or `after=0.5`.",
        )
    return float(after)
