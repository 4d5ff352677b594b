import pytest

from microlith_cli.errors import UsageError
from microlith_cli.options import seconds, split

VALUED = ("--wait", "--timeout")
SWITCHES = ("--json", "--all")


def test_options_are_taken_out_and_the_rest_keeps_its_order():
    given = split(
        ["Login", "--email", "x", "--wait", "A", "--wait=B", "--json", "-5"], valued=VALUED, switches=SWITCHES
    )

    assert given.all("--wait") == ["A", "B"]
    assert given.has("--json")
    assert not given.has("--all")
    assert given.rest == ["Login", "--email", "x", "-5"]


def test_nothing_is_an_option_after_two_dashes():
    assert split(["--", "--json"], valued=VALUED, switches=SWITCHES).rest == ["--json"]


def test_value_that_looks_like_an_option_is_joined():
    assert split(["--wait=--all"], valued=VALUED, switches=SWITCHES).all("--wait") == ["--all"]


@pytest.mark.parametrize("tokens", [["--wait"], ["--wait", "--all"], ["--json=1"]])
def test_option_without_its_value_or_with_one_too_many_is_refused(tokens):
    with pytest.raises(UsageError):
        split(tokens, valued=VALUED, switches=SWITCHES)


def test_option_that_is_taken_once_is_refused_twice():
    given = split(["--timeout", "1", "--timeout", "2"], valued=VALUED, switches=SWITCHES)

    with pytest.raises(UsageError, match="2 times"):
        given.one("--timeout")


@pytest.mark.parametrize(
    ("text", "value"), [("5", 5), ("5s", 5), ("0.5s", 0.5), ("500ms", 0.5), ("2m", 120), ("24h", 86400)]
)
def test_time_is_read_with_its_unit(text, value):
    assert seconds(text, "--timeout") == value


@pytest.mark.parametrize(
    "text", ["", "s", "0", "0ms", "-1s", "1e3", "5 s", "5sec", "nan", "inf", "٣s", "25h", "9" * 400]
)
def test_time_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="--timeout takes a time"):
        seconds(text, "--timeout")
