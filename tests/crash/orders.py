"""The shop that is killed: a process follows each order from payment to parcel, with a deadline that never comes.

`die_at` ends the process, as SIGKILL does, at one of the moments between two steps: before a write, or after its commit
and before anybody is told. `apart` is the planted bug: what a process sends is committed by itself, before the step.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from microlith import Command, Component, Event, Microlith, Process, Scheduled, continues, starts
from microlith.event_store.protocol import EventStore, Unit
from tests.crash.bank import say


class PlaceOrder(Command):
    """Ask for something; the number tells one from another."""

    number: int


class TakePayment(Command):
    """Ask for the money."""

    number: int


class ShipOrder(Command):
    """Ask for the parcel."""

    number: int


class GiveUp(Command):
    """Ask for the end of waiting; never comes in time."""

    number: int


class OrderPlacedEvent(Event):
    """An order was placed."""

    number: int


class PaymentTakenEvent(Event):
    """The money is there."""

    number: int


class OrderShippedEvent(Event):
    """The parcel is on its way."""

    number: int


class Fulfilment(Process, key="number"):
    """Counts what it has seen, so that a lost step shows."""

    taken: int = 0

    @starts
    def placed(self, event: OrderPlacedEvent) -> list[TakePayment | Scheduled[GiveUp]]:
        """Ask for the money, for an hour."""
        self.taken += 1
        deadline = Scheduled(GiveUp(number=event.number), after=timedelta(hours=1), name="deadline")
        return [TakePayment(number=event.number), deadline]

    @continues
    def took(self, event: PaymentTakenEvent) -> ShipOrder:
        """Ask for the parcel."""
        self.taken += 1
        return ShipOrder(number=event.number)

    @continues
    def shipped(self, event: OrderShippedEvent) -> None:
        """End."""
        self.taken += 1
        self.end()


STEPS = [("OrderPlacedEvent", 1, False), ("PaymentTakenEvent", 2, False), ("OrderShippedEvent", 3, True)]
"""What the steps of an order say: the event it took, how many that makes, whether it has ended."""


def make_shop(directory: str) -> Microlith:
    """Declare the application on a SQLite store in a directory."""
    shop = Component("shop")
    shop.process(Fulfilment)

    @shop.handles(PlaceOrder)
    async def place(command: PlaceOrder) -> OrderPlacedEvent:
        return OrderPlacedEvent(number=command.number)

    @shop.handles(TakePayment)
    async def take_payment(command: TakePayment) -> PaymentTakenEvent:
        return PaymentTakenEvent(number=command.number)

    @shop.handles(ShipOrder)
    async def ship(command: ShipOrder) -> OrderShippedEvent:
        return OrderShippedEvent(number=command.number)

    @shop.handles(GiveUp)
    async def give_up(command: GiveUp) -> None:
        os._exit(8)

    return Microlith("shop", [shop], store=f"sqlite:{directory}/events.db")


def make_deadly(store: EventStore, die_at: int, *, apart: bool) -> None:
    """Count the moments between two steps, and die at one of them."""
    complete, moments = store.complete, iter(range(1, 1_000_000))

    def moment() -> None:
        if next(moments) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def told(done: Callable[..., None]) -> Callable[..., None]:
        def tell(*outcome: Any) -> None:
            moment()
            done(*outcome)

        return tell

    def deadly(unit: Unit, done: Callable[..., None]) -> None:
        moment()
        if not (apart and unit.places and len(unit.envelopes) > 1):
            complete(unit, told(done))
            return

        def then(*_: Any) -> None:
            moment()
            complete(unit, told(done))

        own = [one for one in unit.envelopes if one.message_id in (unit.places or ())]
        complete(Unit([one for one in unit.envelopes if one not in own]), then)
        unit.envelopes = own

    vars(store)["complete"] = deadly


async def order_once(directory: str, die_at: int, *, apart: bool) -> None:
    """Place one order and follow it to the end, unless death comes first."""
    async with make_shop(directory) as app:
        make_deadly(app.store, die_at, apart=apart)
        app.command_bus.dispatch(PlaceOrder(number=1))
        await app.idle()
        say("whole", die_at)


async def run_under_load(directory: str, first: int, *, apart: bool) -> None:
    """Order as fast as it goes, until killed. Bounded, should nobody kill it."""
    async with make_shop(directory) as app:
        make_deadly(app.store, -1, apart=apart)
        say("open", first)
        numbers = iter(range(first, first + 20_000))

        async def client() -> None:
            for number in numbers:
                say("try", number)
                await app.command_bus.dispatch(PlaceOrder(number=number))
                say("ack", number)
                await asyncio.sleep(0)

        await asyncio.gather(*(client() for _ in range(20)))


def serve() -> None:
    """Fork a process for each line of standard input: NUMBER MODE, where NUMBER is the first order or the moment to die at.

    MODE is `load` or `once`, and ends with `-apart` for the planted bug.
    """
    for line in sys.stdin:
        number, mode = line.split()
        apart = mode.endswith("-apart")
        pid = os.fork()
        if pid == 0:
            if mode.startswith("load"):
                asyncio.run(run_under_load(sys.argv[1], int(number), apart=apart))
            else:
                asyncio.run(order_once(f"{sys.argv[1]}/{number}", int(number), apart=apart))
            os._exit(0)
        say("pid", pid)
        os.waitpid(pid, 0)
        say("gone", pid)


if __name__ == "__main__":
    serve()
