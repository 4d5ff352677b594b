"""Source is laid out as the formatter would."""

import ast

from hypothesis import given
from hypothesis import strategies as st

from microlith_cli.scaffolding.source_text import LINE, fitted, from_import, import_block, string_literal


@given(st.text())
def test_literal_says_the_text_and_shows_every_character(text):
    literal = string_literal(text)

    assert ast.literal_eval(literal) == text
    assert literal.isprintable()


def test_literal_prefers_double_quotes_unless_that_costs_more():
    assert string_literal("it's") == '"it\'s"'
    assert string_literal('say "x"') == "'say \"x\"'"
    assert string_literal("""'"\\""") == '"\'\\"\\\\"'


def test_fitted_stays_on_one_line_up_to_the_limit():
    word = "a" * (LINE - len("    f()"))

    assert fitted("f(", [word], ")", indent=4) == f"f({word})"
    assert fitted("f(", [word + "a"], ")", indent=4) == f"f(\n        {word}a,\n    )"


def test_imports_are_sorted_into_sections():
    pairs = {
        ("shop.auth", "auth"),
        ("shop.auth.events.b10", "B"),
        ("shop.auth.events.b2", "B"),
        ("pydantic", "SecretStr"),
        ("microlith", "Table"),
        ("microlith", "ReadModel"),
        ("datetime", "datetime"),
        ("datetime", "UTC"),
        ("datetime", "date"),
    }

    assert import_block(pairs, first_party="shop").splitlines() == [
        "from datetime import UTC, date, datetime",
        "",
        "from microlith import ReadModel, Table",
        "from pydantic import SecretStr",
        "",
        "from shop.auth import auth",
        "from shop.auth.events.b2 import B",
        "from shop.auth.events.b10 import B",
    ]


def test_long_import_is_put_in_parentheses():
    name = "a" * LINE

    assert from_import("shop", name) == f"from shop import (\n    {name},\n)"
