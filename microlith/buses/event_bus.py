"""The event bus: each event goes to any number of handlers."""

from typing import ClassVar

from microlith.buses.bus import Bus
from microlith.delivery import Delivery
from microlith.errors import HandlerFailedError, StoreError
from microlith.messages import Event, Kind, stored_names
from microlith.waits import Wait


class EventBus(Bus[Event]):
    """Carries events. An event is appended to the log before any handler sees it."""

    kind: ClassVar[Kind] = "event"

    async def _look_back(self, delivery: Delivery, wait: Wait) -> None:
        await look_back(delivery, wait)


async def look_back(delivery: Delivery, wait: Wait) -> None:
    """Show a wait the events that its correlation has seen, or the failure it has come to."""
    recorded = await delivery.store.read_correlation(wait.correlation_id)
    if recorded:
        names = {name for cls in wait.classes for name in stored_names(cls)}
        for event in recorded:
            if event.type in names:
                wait.offer(event.envelope)
    for heard in delivery.heard.get(wait.correlation_id, ()):
        wait.offer(heard)
    await look_for_failure(delivery, wait)


async def look_for_failure(delivery: Delivery, wait: Wait) -> None:
    """Tell a wait that found nothing the failure that its correlation has come to, if any."""
    if wait.future.done():
        return
    recent = delivery.failed.get(wait.correlation_id)
    if recent is not None:
        await delivery.store.flush()  # its dead letter may be on its way still
    failure = await delivery.store.failure_of(wait.correlation_id)
    if failure is not None:
        wait.fail(recent or HandlerFailedError(*failure))
    elif recent is not None and isinstance(recent.__cause__, StoreError):
        wait.fail(recent)  # it has no dead letter: its commit was refused, and it is tried again at the next start
