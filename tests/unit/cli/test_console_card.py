"""Names and values below each other."""

import io

import pytest

from microlith_cli.console.card import show_card
from tests.hostile import TEXTS, unsafe_in


def card(*rows, **options):
    stream = io.StringIO()
    show_card("shop", rows, stream, **options)
    return stream.getvalue()


def test_card_aligns_its_values():
    assert card(("store", "durable"), ("listens at", "x.sock")) == "shop\n  store       durable\n  listens at  x.sock\n"


def test_long_value_goes_on_below_itself(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")

    shown = card(("components", ", ".join(f"component{n}" for n in range(6))))

    assert shown.splitlines() == [
        "shop",
        "  components  component0, component1,",
        "              component2, component3,",
        "              component4, component5",
    ]


def test_path_is_never_broken(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")

    assert "x" * 100 in card(("listens at", "x" * 100))


def test_card_without_a_stream_or_rows_is_shown_as_far_as_it_goes():
    show_card("shop", [("a", "b")], None)

    assert card() == "shop\n"
    assert card(("a", "")) == "shop\n  a\n"


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_hostile_text_never_reaches_the_terminal(monkeypatch, text):
    monkeypatch.setenv("FORCE_COLOR", "1")

    assert not unsafe_in(card((text, text), ("name", text), warnings={text}))
