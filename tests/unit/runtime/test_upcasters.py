"""Old shapes: every version ever stored is read, through a chain that is checked at start."""

from typing import Any

import pytest

from microlith import Component, Event, Microlith, PayloadError, WiringError


class PriceSetEvent(Event, version=3, formerly=("PriceChanged",)):
    """A price; version 1 had whole euros, version 2 cents as text."""

    cents: int
    currency: str


def declared() -> Component:
    """Declare a component that reads every version."""
    shop = Component("shop")

    @shop.handles(PriceSetEvent)
    async def note(event: PriceSetEvent) -> None: ...

    @shop.upcasts(PriceSetEvent, version=1)
    def to_cents(data: dict[str, Any]) -> dict[str, Any]:
        return {"cents": str(data["euros"] * 100)}

    @shop.upcasts(PriceSetEvent, version=2)
    def to_number(data: dict[str, Any]) -> dict[str, Any]:
        return {"cents": int(data["cents"]), "currency": "EUR"}

    return shop


@pytest.mark.parametrize(
    ("version", "stored"),
    [(1, b'{"euros": 5}'), (2, b'{"cents": "500"}'), (3, b'{"cents": 500, "currency": "EUR"}')],
)
@pytest.mark.parametrize("name", ["PriceSetEvent", "PriceChanged"])
def test_every_version_and_every_earlier_name_is_read(version: int, stored: bytes, name: str):
    types = Microlith("shop", [declared()]).types

    assert types.decode("shop", name, version, stored) == PriceSetEvent(cents=500, currency="EUR")


def test_a_missing_step_is_refused_at_start_with_the_line_to_add():
    shop = declared()
    del shop.upcasters[0]

    with pytest.raises(WiringError, match="nothing reads version 1") as caught:
        Microlith("shop", [shop]).wire()

    assert "@shop.upcasts(PriceSetEvent, version=1)" in caught.value.hint


def test_a_step_that_leads_nowhere_is_refused_at_start():
    shop = declared()
    shop.upcasts(PriceSetEvent, version=3)(dict)

    with pytest.raises(WiringError, match="an upcaster from version 3 leads nowhere"):
        Microlith("shop", [shop]).wire()


def test_a_version_from_the_future_is_refused_not_guessed():
    types = Microlith("shop", [declared()]).types

    with pytest.raises(PayloadError, match="was stored as version 4; this code knows version 3"):
        types.decode("shop", "PriceSetEvent", 4, b"{}")


def test_an_upcaster_that_fails_is_an_error_of_that_message():
    types = Microlith("shop", [declared()]).types

    with pytest.raises(PayloadError, match="version 1 could not be read through the upcasters: KeyError"):
        types.decode("shop", "PriceSetEvent", 1, b"{}")


def test_what_is_stored_and_does_not_fit_says_its_version_and_what_mends_it():
    types = Microlith("shop", [declared()]).types

    with pytest.raises(PayloadError, match="stored as version 3 does not fit PriceSetEvent: currency") as caught:
        types.decode("shop", "PriceSetEvent", 3, b'{"cents": 5}')

    assert "`version=4` in `class PriceSetEvent(...)`" in caught.value.hint
    assert "@shop.upcasts(PriceSetEvent, version=3)" in caught.value.hint


def test_what_an_upcaster_returns_and_does_not_fit_names_that_upcaster():
    shop = Component("shop")
    shop.upcasts(PriceSetEvent, version=1)(dict)
    shop.upcasts(PriceSetEvent, version=2)(dict)
    shop.handles(PriceSetEvent)(lambda event: None)
    types = Microlith("shop", [shop]).types

    with pytest.raises(PayloadError, match="stored as version 2 does not fit PriceSetEvent: currency") as caught:
        types.decode("shop", "PriceSetEvent", 2, b'{"cents": "5"}')

    assert caught.value.hint == "Correct what `@shop.upcasts(PriceSetEvent, ...)` returns for version 2."
