"""What the url of an event store means."""

import sys

import pytest

from microlith.event_store import MissingDriverError, StoreUrlError, open_event_store
from microlith.event_store.memory import MemoryEventStore
from microlith.event_store.postgres import PostgresEventStore
from microlith.event_store.sqlite import SQLiteEventStore
from microlith.serialization import MessageTypes


@pytest.mark.parametrize(
    ("url", "kind", "durability"),
    [
        ("memory:", MemoryEventStore, "memory"),
        ("sqlite:events.db", SQLiteEventStore, "durable"),
        ("sqlite:events.db?durability=durable", SQLiteEventStore, "durable"),
        ("sqlite:events.db?durability=fast", SQLiteEventStore, "fast"),
        ("postgresql:///shop", PostgresEventStore, "durable"),
        ("postgresql://me@db:5433/shop?schema=orders&durability=fast&sslmode=require", PostgresEventStore, "fast"),
    ],
)
def test_url_means_a_store(tmp_path, url, kind, durability):
    store = open_event_store(url, MessageTypes(), tmp_path)

    assert isinstance(store, kind)
    assert store.durability == durability


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqllite:events.db", "Did you mean 'sqlite:'?"),
        ("events.db", "sqlite:PATH"),
        ("mysql://host/db", "sqlite:PATH"),
        ("memory:events.db", "sqlite:PATH"),
        ("sqlite:", "sqlite:PATH"),
        ("sqlite:events.db?speed=fast", "sqlite:PATH"),
        ("sqlite:events.db?durability=none", "sqlite:PATH"),
        ("sqlite:events.db?durabilty=fast", "Did you mean 'durability'?"),
        ("postgres://host/db", "Did you mean 'postgresql:'?"),
        ("postgresql://host/db?schema=A", "postgresql://HOST/DATABASE"),
        ("postgresql://host/db?schemma=a", "Did you mean 'schema'?"),
        ("postgresql://host/db?sslmod=require", "Did you mean 'sslmode'?"),
        ("postgresql://host/db?share=yes", "Did you mean 'shared'?"),
        ("postgresql://host/db?colour=red", "postgresql://HOST/DATABASE"),
    ],
)
def test_url_that_means_nothing_is_refused_with_a_hint(tmp_path, url, says):
    with pytest.raises(StoreUrlError) as caught:
        open_event_store(url, MessageTypes(), tmp_path)

    assert says in caught.value.hint


def test_refusal_shows_no_password(tmp_path):
    with pytest.raises(StoreUrlError) as caught:
        open_event_store("postgresql://me:hunter2@host/db?colour=red", MessageTypes(), tmp_path)

    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


def test_driver_that_is_not_installed_is_named_with_what_installs_it(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("psycopg", "microlith.event_store.postgres"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(MissingDriverError) as caught:
        open_event_store("postgresql:///shop", MessageTypes(), tmp_path)

    assert "microlith[postgres]" in caught.value.hint


async def test_relative_path_starts_at_the_root(tmp_path):
    store = open_event_store("sqlite:.microlith/events.db", MessageTypes(), tmp_path)

    await store.open()
    await store.close()

    assert (tmp_path / ".microlith" / "events.db").stat().st_size > 0


def test_building_a_store_touches_nothing(tmp_path):
    open_event_store("sqlite:.microlith/events.db", MessageTypes(), tmp_path)

    assert list(tmp_path.iterdir()) == []
