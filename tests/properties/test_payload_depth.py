"""The depth of JSON text, counted in a few sweeps, against a plain walk over its bytes."""

import json
import re
import timeit
from functools import partial
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microlith.payloads import MAX_BYTES, MAX_DEPTH, depth_of

BRACKETS = MAX_DEPTH + 6
"""More opening ones than there may be levels: fewer are not counted at all."""

pieces = st.sampled_from(
    ["[", "]", "{", "}", '"', "\\", '\\"', "\\\\", "a", "é", ",", ":", '""', '"["', "[" * BRACKETS]
)
scalars = st.none() | st.booleans() | st.integers() | st.text('ab"\\[]{}é\n', max_size=8)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text('"\\[{a', max_size=3), inner))


def walked(data: bytes) -> int:
    """Count as plainly as it can be done; a backslash means something in strings alone."""
    deepest = depth = 0
    inside = escaped = False
    for byte in data:
        if inside:
            if escaped:
                escaped = False
            elif byte == ord("\\"):
                escaped = True
            elif byte == ord('"'):
                inside = False
        elif byte == ord('"'):
            inside = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


@settings(max_examples=300)
@given(values, st.booleans(), st.integers(0, 3))
def test_json_is_as_deep_as_a_walk_says(value, ascii_only, levels):
    nested = f"{'[' * BRACKETS * levels}{json.dumps(value, ensure_ascii=ascii_only)}{']' * BRACKETS * levels}"
    data = (nested + "[]" * BRACKETS).encode()

    assert depth_of(data) == walked(data)


@settings(max_examples=500)
@given(st.lists(pieces, max_size=40))
def test_whatever_text_is_never_less_deep_than_a_parser_descends(parts):
    data = ("".join(parts) + "{" * BRACKETS).encode()
    outside = re.sub(rb'"(?:[^"\\]|\\.)*+"?', lambda string: b"_" * len(string[0]), data, flags=re.DOTALL)
    first_mistake = outside.find(b"\\")  # no JSON has one outside of strings
    parsed = data if first_mistake < 0 else data[:first_mistake]

    assert depth_of(data) >= walked(parsed)
    if first_mistake < 0:
        assert depth_of(data) == walked(data)


@pytest.mark.parametrize(
    "piece",
    [
        '{"name": "a[b", "tags": ["x", "y"], "at": {"city": "Ulm"}}, ',
        '{"text": "he said \\"[\\" and \\\\ went"}, ',
        '"[", ',
        "[], ",
    ],
    ids=["records", "escapes", "brackets in strings", "brackets alone"],
)
def test_counting_is_several_times_as_quick_as_a_walk(piece):
    data = ("[" + piece * (83_000 // len(piece))).encode()

    quick, slow = (
        min(timeit.repeat(partial(count, data), timer=process_time, number=1, repeat=9)) for count in (depth_of, walked)
    )

    assert quick * 4 < slow  # 6 to 30 times, on a machine that does nothing else


def test_the_worst_text_is_counted_in_a_moment():
    for data in (b'"["' * (MAX_BYTES // 3), b"[]" * (MAX_BYTES // 2), b'\\"[' * (MAX_BYTES // 3), b'"' * MAX_BYTES):
        begun = process_time()
        depth_of(data)
        assert process_time() - begun < 0.5
