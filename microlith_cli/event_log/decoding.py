"""Whether today's code can read every event: what cannot be read, gathered by what is wrong with it.

A field that was added without a default is found when a stream is read next, which may be months later; here it is
found beforehand. Upcasters run, handlers and projections do not.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from microlith.errors import MicrolithError, PayloadError, UnknownTypeError

if TYPE_CHECKING:
    from microlith.event_store.recorded_event import RecordedEvent

MOST_KINDS = 100
"""As many different mistakes are told."""


class Unreadable:
    """Looks at events, and remembers those that do not fit the classes as they are now.

    Attributes:
        events: How many were looked at.
    """

    def __init__(self) -> None:
        self.events = 0
        self._kinds: dict[tuple[str, ...], dict[str, Any]] = {}

    def look(self, events: "Iterable[RecordedEvent]") -> None:
        """Decode some events."""
        for event in events:
            self.events += 1
            try:
                event.message  # noqa: B018 (decodes it)
            except Exception as error:  # noqa: BLE001 (validators and upcasters are the user's, and may raise anything)
                self._note(event, error)

    @property
    def kinds(self) -> list[dict[str, Any]]:
        """What is wrong, by where it was first found: type, version, events, first, problem, hint, gone.

        `first` is the global position of the first event, `gone` whether no component declares the type any more.
        """
        return list(self._kinds.values())

    def _note(self, event: "RecordedEvent", error: Exception) -> None:
        problem, hint = _told(event, error)
        key = (event.component, event.type, str(event.version), problem)
        if key not in self._kinds and len(self._kinds) < MOST_KINDS:
            self._kinds[key] = {
                "type": f"{event.component}.{event.type}",
                "version": event.version,
                "events": 0,
                "first": event.position,
                "problem": problem,
                "hint": hint,
                "gone": isinstance(error, UnknownTypeError),
            }
        if key in self._kinds:
            self._kinds[key]["events"] += 1


def _told(event: "RecordedEvent", error: Exception) -> tuple[str, str]:
    """Say what is wrong without the position, which differs, and what to do about it."""
    if isinstance(error, UnknownTypeError):
        return "no component declares it any more", (
            f"Declare {event.type} in {event.component} again; or, where another class has taken its place, "
            f'write `formerly=("{event.type}",)` behind that one\'s base.'
        )
    if isinstance(error, PayloadError):
        told = "; ".join(f"{problem['field'] or 'payload'}: {problem['problem']}" for problem in error.problems)
        return told, error.hint
    if isinstance(error, MicrolithError):
        return str(error), error.hint
    return f"{type(error).__name__} while it was read", f"Correct the validators and upcasters of {event.type}."
