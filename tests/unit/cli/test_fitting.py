"""What can be said of a value before anybody gets it."""

import pytest

from microlith_cli.commands.dispatch.fitting import doubt, misfit
from microlith_cli.schema import Schema


def field(**node):
    (found,) = Schema({"type": "object", "properties": {"x": node}, "required": ["x"]}).fields()
    return found


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("date", "2026-02-28", "2026-02-30"),
        ("date-time", "2026-02-28T12:00:00+01:00", "2026-02-28T25:00"),
        ("date-time", "2026-02-28T12:00:00Z", "tomorrow"),
        ("time", "12:30", "12:60"),
        ("uuid", "0190b6f4-7c1e-7a31-8d57-3f6f6c2f1a10", "0190"),
    ],
)
def test_text_that_cannot_be_read_as_its_format_is_doubted_and_not_refused(form, good, bad):
    described = field(type="string", format=form)

    assert (doubt(described, good), misfit(described, bad)) == (None, None)
    assert str(doubt(described, bad)).startswith("is no ")


@pytest.mark.parametrize(("node", "value"), [({"type": "string"}, "x"), ({"type": "string", "format": "email"}, "x")])
def test_nothing_is_doubted_where_nothing_is_known(node, value):
    assert doubt(field(**node), value) is None


def test_value_of_another_alternative_is_not_doubted():
    described = field(anyOf=[{"type": "string", "format": "date"}, {"type": "integer"}])

    assert doubt(described, 5) is None
    assert doubt(described, "x") == "is no date such as 2026-01-31"


@pytest.mark.parametrize(("least", "said"), [(1, "1 character"), (2, "2 characters")])
def test_one_character_is_told_as_one(least, said):
    described = field(type="string", minLength=least)

    assert misfit(described, "") == f"must have at least {said}"
    assert described.constraints == (f"at least {said}",)
