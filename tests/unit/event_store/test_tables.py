"""The shape of read-model tables, and rows in memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microlith.event_store.memory_tables import MemoryRows
from microlith.event_store.tables import TableError, TableSpec, check_asked, check_table, digest_of

ROWS = TableSpec("rows", "key", "integer", ("shelf",))


@pytest.mark.parametrize("name", ["", "1st", "a-b", 'a"b', "a b", "a;DROP", "ä", "x" * 64])
def test_name_that_could_mean_something_to_a_database_is_refused(name):
    for table in (TableSpec(name, "key", "text"), TableSpec("t", name, "text"), TableSpec("t", "key", "text", (name,))):
        with pytest.raises(TableError):
            check_table(table)


def test_rows_are_not_found_by_a_field_without_an_index():
    with pytest.raises(TableError) as caught:
        check_asked(ROWS, {"colour": "red"})

    assert "'colour'" in caught.value.hint


def test_digest_tells_rows_apart():
    digests = {
        digest_of([(ROWS, rows)])
        for rows in (
            [],
            [(1, b"a")],
            [(2, b"a")],
            [(1, b"ab")],
            [(1, b"a"), (2, b"b")],
            [(12, b"a")],
            [(1, b"a2 1\n2b")],
        )
    }

    assert len(digests) == 7


@given(
    st.lists(st.tuples(st.sampled_from(["put", "delete", "keep", "take back"]), st.integers(0, 5), st.integers(0, 2)))
)
def test_rows_in_memory_take_back_what_was_not_kept(steps):
    rows = MemoryRows((ROWS,))
    live: dict[int, int] = {}
    kept: dict[int, int] = {}
    for step, key, shelf in steps:
        if step == "put":
            rows.put(ROWS, key, b"%d" % shelf, {"shelf": shelf})
            live[key] = shelf
        elif step == "delete":
            assert rows.delete(ROWS, key) == (live.pop(key, None) is not None)
        elif step == "keep":
            rows.keep()
            kept = dict(live)
        else:
            rows.take_back()
            live = dict(kept)

    assert rows.find(ROWS, {}, 100) == [b"%d" % live[key] for key in sorted(live)]
    for shelf in range(3):
        assert rows.count(ROWS, {"shelf": shelf}) == list(live.values()).count(shelf)
