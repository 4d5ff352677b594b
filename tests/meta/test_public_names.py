"""What `from microlith import ...` offers: a promise, so it is written down twice.

Whoever adds or removes a public name changes the list here too, and the changelog.
"""

import inspect

import pytest

import microlith

PUBLIC_NAMES: list[str] = []


def test_public_names_are_the_promised_ones():
    assert list(getattr(microlith, "__all__", [])) == PUBLIC_NAMES


@pytest.mark.parametrize("name", getattr(microlith, "__all__", []))
def test_public_name_exists_and_says_what_it_is(name):
    value = getattr(microlith, name)

    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value), f"microlith.{name} has no docstring"
