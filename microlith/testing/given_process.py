"""Given what a process has taken, when an event comes, then it sends these messages.

Nothing runs but the process's own methods.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Self

from microlith.envelope import Envelope
from microlith.handlers.schedules import Cancelled, Scheduled
from microlith.ids import new_id
from microlith.messages import Event, Message
from microlith.processes import Process, ProcessType

Sent = Message | type[Message] | Scheduled[Any] | Cancelled
"""What a process may send: a message, also as its class; a message for later; that one is not to be sent."""

Compare = Callable[[Sequence[Any], Sequence[Sent]], None]
CompareError = Callable[[BaseException | None, type[BaseException], str], None]


class GivenProcess:
    """A process with a past: all events belong to one correlation, and to the processes that their keys name."""

    def __init__(
        self, process: ProcessType, events: Sequence[Event], compare: Compare, compare_error: CompareError
    ) -> None:
        self._process = process
        self._events = events
        self._compare = compare
        self._compare_error = compare_error

    def when(self, event: Event) -> "Stepped":
        """Let the process take one more event."""
        for one in (*self._events, event):
            if type(one) not in self._process.takes:
                raise AssertionError(f"{self._process.name} takes no {type(one).__name__}.")
        correlation = new_id()
        known: dict[str, tuple[Process, bool]] = {}
        for past in self._events:
            self._take(known, past, correlation)
        try:
            key, sent, ignored = self._take(known, event, correlation)
        except Exception as error:  # noqa: BLE001 (what was raised is what is looked at)
            return Stepped(self, [], None, error, None)
        return Stepped(self, sent, ignored, None, known.get(key))

    def _take(
        self, known: dict[str, tuple[Process, bool]], event: Event, correlation: str
    ) -> tuple[str, list[Any], str | None]:
        process = self._process
        key = process.key_of(Envelope(event, new_id(), correlation, None, 0.0))
        state, ended = known.get(key, (None, False))
        ignored = process.ignores(event, key, started=state is not None, ended=ended)
        if ignored is not None:
            return key, [], ignored
        state = process.cls() if state is None else copy.deepcopy(state)
        sent, ended = process.step_of(state, event)
        known[key] = (state, ended)
        return key, sent, None

    def compare(self, sent: Sequence[Any], expected: Sequence[Sent]) -> None:
        """Check what was sent."""
        self._compare(sent, expected)

    def compare_error(self, raised: BaseException | None, error: type[BaseException], match: str) -> None:
        """Check what was raised."""
        self._compare_error(raised, error, match)


class Stepped:
    """What a process made of an event."""

    def __init__(
        self,
        given: GivenProcess,
        sent: Sequence[Any],
        ignored: str | None,
        error: BaseException | None,
        process: tuple[Process, bool] | None,
    ) -> None:
        self._given = given
        self._sent = sent
        self._ignored = ignored
        self._error = error
        self._process = process

    def then(self, *expected: Sent) -> Self:
        """Check what it sends, in order: a message must be equal, a class must be the message's class. None: nothing."""
        self._check_taken()
        self._given.compare(self._sent, expected)
        return self

    def state(self, **fields: Any) -> Self:
        """Check some fields of its state after the event."""
        self._check_taken()
        process = self._process[0] if self._process else None
        found = {name: getattr(process, name) for name in fields}
        if found != fields:
            raise AssertionError(f"Expected the state {fields}\nbut got            {found}")
        return self

    def ends(self) -> Self:
        """Check that it has ended."""
        self._check_taken()
        if self._process is None or not self._process[1]:
            raise AssertionError("Expected the process to end, but it goes on.")
        return self

    def goes_on(self) -> Self:
        """Check that it has not ended."""
        self._check_taken()
        if self._process is None or self._process[1]:
            raise AssertionError("Expected the process to go on, but it has ended.")
        return self

    def then_ignored(self) -> None:
        """Check that it took no notice: it has not started, or has ended."""
        self._check_not_raised()
        if self._ignored is None:
            raise AssertionError("Expected the event to be ignored, but it was taken.")

    def then_fails(self, error: type[BaseException], match: str = "") -> None:
        """Check that an error of this type was raised, and that a pattern is found in its text."""
        self._given.compare_error(self._error, error, match)

    def _check_taken(self) -> None:
        self._check_not_raised()
        if self._ignored is not None:
            raise AssertionError(f"The event was ignored: {self._ignored}.")

    def _check_not_raised(self) -> None:
        if self._error is not None:
            raise AssertionError(f"The process raised {type(self._error).__name__}: {self._error}") from self._error
