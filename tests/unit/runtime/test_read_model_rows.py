"""Rows of read models as they are stored: secrets in clear, wherever they hide, and nothing else changed."""

from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from microlith import Component, Event, Microlith, ReadModel, Table
from microlith.context import correlated
from microlith.event_store.memory import MemoryEventStore
from microlith.event_store.protocol import Unit
from microlith.projections.read_models import ReadModelError


class Card(BaseModel):
    number: SecretStr


class Paid(Event):
    number: str


class Plain(ReadModel, key="id", indexes=("size",)):
    id: int
    size: float


class Declared(ReadModel, key="id", indexes=("pin",)):
    id: int
    pin: SecretStr
    cards: list[Card]


class Hidden(ReadModel, key="id"):
    id: int
    anything: Any


async def test_every_row_keeps_what_it_was_given():
    component = Component("pay")
    rows = component.projection("rows", Plain, Declared, Hidden)

    @rows.on(Paid)
    def fold(event: Paid, plain: Table[Plain], declared: Table[Declared], hidden: Table[Hidden]) -> None:
        secret = SecretStr(event.number)
        plain.put(Plain(id=1, size=float("inf")))
        declared.put(Declared(id=1, pin=secret, cards=[Card(number=secret)]))
        hidden.put(Hidden(id=1, anything=secret))

    wiring = Microlith("app", [component]).wire()
    store = MemoryEventStore(wiring.types)
    await store.open(wiring.projections)
    store.complete(Unit([correlated(Paid(number="4711"))]), lambda committed, error: None)

    kept = [store.rows.get(table, 1) for table in wiring.projections[0].tables]
    assert kept == [
        b'{"id":1,"size":Infinity}',
        b'{"id":1,"pin":"4711","cards":[{"number":"4711"}]}',
        b'{"id":1,"anything":"4711"}',
    ]
    assert store.rows.count(wiring.projections[0].tables[1], {"pin": "4711"}) == 1


def test_changing_a_row_says_what_to_do_instead():
    row = Plain(id=1, size=2.0)

    with pytest.raises(ReadModelError, match=r"A row cannot be changed: Plain\.size was set") as caught:
        setattr(row, "size", 3.0)  # noqa: B010 (a type checker refuses it)

    assert 'table.put(row.model_copy(update={"size": ...}))' in caught.value.hint
    assert row.size == 2.0
