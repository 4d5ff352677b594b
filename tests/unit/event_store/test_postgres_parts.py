"""The parts of the PostgreSQL store that can be looked at alone."""

import re

import psycopg
import pytest

from microlith.errors import CorruptionError, StoreUnavailableError
from microlith.event_store.database.session import Session
from microlith.event_store.database.statements import statements
from microlith.event_store.postgres import Place, PlaceError
from microlith.event_store.postgres.connection import is_authors, is_busy, judge
from microlith.event_store.postgres.dialect import DIALECT
from microlith.event_store.postgres.opening import prepare
from microlith.event_store.tables import TableSpec

PLACE = Place.of("postgresql://me:hunter2@db.example:5433/shop?schema=orders&sslmode=require&durability=fast")
# What a database does in a way of its own.
OF_SQLITE_ALONE = {
    "reading": set(),
    "writing": {"write_anew"},
    "rows": set(),
    "keys": {"truncate", "overwrite"},
}
OF_POSTGRES_ALONE = {
    "reading": set(),
    "writing": {"select_stream_heads", "truncate_snapshots"},
    "rows": {"note"},
    "keys": {"create_schema", "write_anew"},
}


def test_place_takes_our_options_out_and_leaves_the_others_to_libpq():
    assert PLACE.url == "postgresql://me:hunter2@db.example:5433/shop?sslmode=require"
    assert (PLACE.schema, PLACE.keys, PLACE.durability) == ("orders", "orders_keys", "fast")
    assert "hunter2" not in PLACE.shown
    assert "orders" in PLACE.shown


def test_place_without_options_is_durable_and_has_the_schema_that_all_have():
    place = Place.of("postgresql:///shop")

    assert (place.url, place.schema, place.durability) == ("postgresql:///shop", "microlith", "durable")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql:///shop?schema=Orders", "'Orders' cannot name its schema"),
        ("postgresql:///shop?schema=a%22b", "cannot name its schema"),
        ("postgresql:///shop?schema=", "'' cannot name its schema"),
        ("postgresql:///shop?schema=pg_temp", "cannot name its schema"),
        (f"postgresql:///shop?schema={'s' * 52}", "cannot name its schema"),
        ("postgresql:///shop?durability=quick", "the durability 'quick' is not known"),
        ("postgresql:///shop?colour=red", "colour"),
        ("postgresql://[::1/shop", "]"),
    ],
)
def test_url_that_names_no_place_says_why(url, problem):
    with pytest.raises(PlaceError, match=re.escape(problem)):
        Place.of(url)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1.0, True),
        (1, True, True),
        (0.0, -0.0, True),
        (None, float("nan"), True),
        (1, "1", False),
        (None, "null", False),
        ("a" * 500 + "b", "a" * 500 + "c", False),
        ("\0", "\\u0000", False),
        ("\ud800", "\\ud800", False),
    ],
)
def test_values_are_equal_in_columns_as_they_are_in_memory(one, other, same):
    assert (DIALECT.value(one) == DIALECT.value(other)) is same


@pytest.mark.parametrize("value", ["x" * 100_000, "\0" * 1_000, "\ud800", "😀" * 10_000, 10**400, 1e308])
def test_value_of_any_length_fits_an_index(value):
    assert len(DIALECT.value(value).encode()) <= 1_200


def test_long_names_of_tables_are_kept_apart():
    names = {DIALECT.table(prefix, "t" * 60 + end) for prefix in ("rows_", "replaced_") for end in "abc"}

    assert len(names) == 6
    assert max(map(len, names)) <= 63
    assert all(name.startswith(("rows_t", "replaced_t")) for name in names)


@pytest.mark.parametrize(
    ("key_type", "key", "stored"),
    [
        ("text", "a", "a"),
        ("text", 1, None),
        ("text", "a\0", None),
        ("text", None, None),
        ("integer", 7, 7),
        ("integer", 7.0, 7),
        ("integer", True, 1),
        ("integer", 7.5, None),
        ("integer", "7", None),
        ("integer", 2**63, None),
        ("integer", -(2**63), -(2**63)),
    ],
)
def test_key_that_no_row_can_have_is_none(key_type, key, stored):
    assert DIALECT.key(TableSpec("t", "k", key_type), key) == stored


@pytest.mark.parametrize(
    ("name", "busy", "authors", "meaning", "usable"),
    [
        ("DiskFull", False, False, StoreUnavailableError, True),
        ("DataCorrupted", False, False, CorruptionError, False),
        ("IndexCorrupted", False, False, CorruptionError, False),
        ("InsufficientPrivilege", False, False, StoreUnavailableError, False),
        ("UndefinedTable", False, False, StoreUnavailableError, False),
        ("UndefinedFile", False, False, StoreUnavailableError, True),
        ("LockNotAvailable", True, False, StoreUnavailableError, True),
        ("DeadlockDetected", True, False, StoreUnavailableError, True),
        ("SerializationFailure", True, False, StoreUnavailableError, True),
        ("ReadOnlySqlTransaction", True, False, StoreUnavailableError, True),
        ("UniqueViolation", False, True, StoreUnavailableError, True),
        ("ProgramLimitExceeded", False, True, StoreUnavailableError, True),
        ("DataError", False, True, StoreUnavailableError, True),
    ],
)
def test_error_says_what_became_of_the_messages(name, busy, authors, meaning, usable):
    error = getattr(psycopg.errors, name, None) or getattr(psycopg, name)
    told, may_go_on = judge(error("no"), PLACE)

    assert (is_busy(error("no")), is_authors(error("no"))) == (busy, authors)
    assert (type(told), may_go_on) == (meaning, usable)


@pytest.mark.parametrize("part", OF_SQLITE_ALONE)
def test_both_databases_have_the_same_statements(part):
    sqlite, postgres = (set(statements(f"{name}_{part}.sql")) for name in ("sqlite", "postgres"))

    assert sqlite - OF_SQLITE_ALONE[part] == postgres - OF_POSTGRES_ALONE[part]
    assert sqlite - postgres == OF_SQLITE_ALONE[part]


def filled(text):
    """A statement with what it leaves open filled in."""
    columns = text.partition("(")[2].partition(")")[0].count(",") + 1
    places = ", ".join(f"${number}" for number in range(1, columns + 1))
    return text.replace("{rows}", f"({places})")


@pytest.mark.postgres
@pytest.mark.parametrize("part", ["reading", "writing", "owning"])
def test_every_statement_fits_the_schema(postgres_schema, part):
    place = Place.of(postgres_schema)
    with psycopg.connect(place.url, autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        connection.execute(f'SET search_path TO "{place.schema}"')
        prepare(connection, place)

        for name, text in statements(f"postgres_{part}.sql").items():
            if not text.startswith("TRUNCATE"):
                connection.execute(f'PREPARE "{name}" AS {filled(text)}')


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("select_stream", "events_by_stream"),
        ("select_newest", "events_by_stream"),
        ("select_event_id", "events_by_message"),
        ("select_correlation", "events_by_correlation"),
        ("select_all", "events_pkey"),
        ("select_buried", "commands_by_message"),
        ("select_failure", "dead_letters_by_correlation"),
        ("select_schedule", "scheduled_by_message"),
        ("select_due_schedules", "scheduled_waiting"),
        ("select_snapshot", "snapshots_by_stream"),
        ("select_snapshots", "snapshots_by_stream"),
    ],
)
def test_statement_is_answered_by_its_index(postgres_schema, name, index):
    place = Place.of(postgres_schema)
    text = statements("postgres_reading.sql")[name]
    values = sorted(set(re.findall(r"\$\d", text)))
    with psycopg.connect(place.url, autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        connection.execute(f'SET search_path TO "{place.schema}"; SET enable_seqscan TO off; SET enable_sort TO off')
        prepare(connection, place)
        connection.execute(f"PREPARE asked AS {text}")
        connection.execute("SET plan_cache_mode TO force_generic_plan")

        plan = str(connection.execute(f"EXPLAIN EXECUTE asked ({', '.join('NULL' for _ in values)})").fetchall())

    assert index in plan
    assert "Seq Scan" not in plan


class Sent(Session):
    """A session that only notes what it is asked to run."""

    dialect = DIALECT

    def __init__(self):
        super().__init__()
        self.sent: list[tuple[str, list[int]]] = []

    def run(self, text, values=()):
        self.sent.append((text.partition("VALUES ")[2], list(values)))
        return []

    def transact(self, work, *, once=False):
        raise NotImplementedError

    def press(self, durability):
        raise NotImplementedError

    def attempt(self, work):
        raise NotImplementedError

    def is_broken_by(self, error):
        raise NotImplementedError


def test_many_rows_are_one_statement_with_numbered_places():
    session = Sent()

    session.insert("insert_finished", list(range(6)), 2)

    (first, second) = session.sent
    assert first == ("($1, $2), ($3, $4) ON CONFLICT DO NOTHING", [0, 1, 2, 3])
    assert second == ("($1, $2) ON CONFLICT DO NOTHING", [4, 5])
