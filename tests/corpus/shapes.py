"""The messages of the corpus: as they are today, and as they were when older logs were written.

A shape is never changed here. What a later version needs is added: a new epoch, and an upcaster.
"""

from typing import Any

from pydantic import SecretStr

from microlith import Command, Component, Event, Microlith, ReadModel, Table
from microlith.serialization import MessageTypes
from tests.corpus.notes import NoteAdded, declared_notes


class PriceSetEvent(Event, version=3, formerly=("PriceChanged",)):
    """Version 1 had whole euros, version 2 cents as text; until version 2 it was called PriceChanged."""

    sku: str
    cents: int
    currency: str


class KeyCut(Event):
    """Holds a secret."""

    number: SecretStr


class Reprice(Command, version=2):
    """Version 1 had whole euros."""

    sku: str
    cents: int


class Price(ReadModel, key="sku", indexes=("cents",)):
    """The newest price."""

    sku: str
    cents: int
    changes: int


def today() -> Microlith:
    """Declare the application that reads every log."""
    prices = Component("prices")

    @prices.upcasts(PriceSetEvent, version=1)
    def to_cents(data: dict[str, Any]) -> dict[str, Any]:
        return {"sku": data["sku"], "cents": str(data["euros"] * 100)}

    @prices.upcasts(PriceSetEvent, version=2)
    def to_number(data: dict[str, Any]) -> dict[str, Any]:
        return {"sku": data["sku"], "cents": int(data["cents"]), "currency": "EUR"}

    @prices.upcasts(Reprice, version=1)
    def command_to_cents(data: dict[str, Any]) -> dict[str, Any]:
        return {"sku": data["sku"], "cents": data["euros"] * 100}

    @prices.handles(Reprice)
    async def reprice(command: Reprice) -> PriceSetEvent:
        return PriceSetEvent(sku=command.sku, cents=command.cents, currency="EUR")

    @prices.handles(KeyCut)
    async def cut(event: KeyCut) -> None:
        """Declare the event."""

    newest = prices.projection("newest", Price)

    @newest.on(PriceSetEvent)
    def change(event: PriceSetEvent, table: Table[Price]) -> None:
        before = table.get(event.sku)
        changes = 1 if before is None else before.changes + 1
        table.put(Price(sku=event.sku, cents=event.cents, changes=changes))

    return Microlith("corpus", [prices, declared_notes()])


def first_epoch() -> tuple[MessageTypes, dict[str, Any]]:
    """Declare the messages as they were first."""

    class PriceChanged(Event):
        sku: str
        euros: int

    class Reprice(Command):
        sku: str
        euros: int

    class Retired(Event):
        """Nobody declares it any more."""

        reason: str

    return _declared(PriceChanged, Reprice, Retired, NoteAdded)


def second_epoch() -> tuple[MessageTypes, dict[str, Any]]:
    """Declare the messages as they were then."""

    class PriceChanged(Event, version=2):
        sku: str
        cents: str

    return _declared(PriceChanged, Reprice, NoteAdded)


def _declared(*classes: Any) -> tuple[MessageTypes, dict[str, Any]]:
    types = MessageTypes()
    for cls in classes:
        types.add(cls, "prices")
    return types, {cls.__name__: cls for cls in classes}
