import pytest
from hypothesis import given
from hypothesis import strategies as st

from microlith_cli.control.lines import MAX_LINE, decode, encode
from microlith_cli.errors import UnsafeJsonError
from microlith_cli.strict_json import check, parse

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "Expecting value"),
        (b'{"a": 1,}', "line 1, column"),
        (b'"a\x01b"', "control character at line 1, column 3"),
        (b"\xff", "byte 0 is not UTF-8"),
        (b"NaN", "NaN"),
        (b"[-Infinity]", "-Infinity"),
        (b"1e400", "not finite"),
        (b'{"a": 1, "a": 2}', "'a' comes twice"),
        (b'{"a": {"b": 1, "b": 1}}', "'b' comes twice"),
        (b"9223372036854775808", "64 bits"),
        (b"-9223372036854775809", "64 bits"),
        (b"1" * 4301, "64 bits"),
        (b'"\\ud800"', "surrogate"),
        (b'{"\\udfff": 1}', "surrogate"),
        (nested(65), "deeper than 64"),
        (nested(5_000), "deeper than 64"),
        (nested(1_000_000), "deeper than 64"),
        (b'{"a":' * 100_000, "deeper than 64"),
    ],
)
def test_json_that_readers_disagree_on_is_refused(text, problem):
    with pytest.raises(UnsafeJsonError, match=problem):
        parse(text)


@pytest.mark.parametrize(
    "text", [b"9223372036854775807", b"-9223372036854775808", b"-0.0", nested(64), b'"\\ud83d\\ude00"', b'"\\u0000"']
)
def test_json_at_the_limits_is_read(text):
    check(parse(text))


@given(VALUES)
def test_line_brings_back_what_was_sent(value):
    assert decode(encode({"data": value})) == {"data": value}


def test_line_with_a_lone_surrogate_is_still_a_line():
    assert encode({"name": "a\udcffb"}) == b'{"name":"a\\udcffb"}\n'


def test_line_that_is_too_long_is_refused():
    with pytest.raises(UnsafeJsonError, match="bytes"):
        decode(b'"' + b"x" * MAX_LINE + b'"')


@pytest.mark.parametrize("line", [b"[]", b'"text"', b"null", b"7"])
def test_line_that_is_no_object_is_refused(line):
    with pytest.raises(UnsafeJsonError, match="object"):
        decode(line)
