"""The PostgreSQL of the tests is a real one: it commits, and keeps what it committed."""

import asyncio
import os
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.servers.faults import Blow, Fault
from tests.servers.postgres import Postgres
from tests.servers.processes import listening
from tests.servers.proxy import Proxy
from tests.servers.server import ServerMissingError

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(180)]


def numbers(url: str, table: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [number for (number,) in connection.execute(f"SELECT number FROM {table} ORDER BY number")]


def test_each_test_has_a_database_of_its_own(postgres, postgres_url):
    other = postgres.create_database("other")
    try:
        with psycopg.connect(postgres_url) as connection:
            connection.execute("CREATE TABLE letters (number int)")

        assert numbers(postgres_url, "letters") == []
        with pytest.raises(psycopg.errors.UndefinedTable):
            numbers(other, "letters")
    finally:
        postgres.drop_database("other")


def test_database_is_dropped_though_somebody_is_connected(postgres):
    with psycopg.connect(postgres.create_database("left open")):
        postgres.drop_database("left open")

    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(postgres.database_url("left open"))


async def test_notifications_arrive(postgres_url):
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        await connection.execute("LISTEN letters")
        await connection.execute("NOTIFY letters, 'a'")

        async with asyncio.timeout(10):
            async for notification in connection.notifies(stop_after=1):
                assert notification.payload == "a"


def test_password_is_checked(postgres_url):
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres_url.replace(":microlith@", ":guess@"))


def test_proxy_stands_between_it_and_its_clients(postgres, postgres_url):
    with Proxy(postgres.port) as proxy, closing(psycopg.connect(proxy.through(postgres_url))) as connection:
        proxy.strike(Blow(Fault.TRICKLE, seconds=60))
        assert connection.execute("SELECT 'slow'").fetchone() == ("slow",)

        proxy.strike(Fault.RESET)

        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")


def test_sigkill_takes_nothing_that_was_committed(postgres, postgres_url):
    with closing(psycopg.connect(postgres_url, autocommit=True)) as connection:
        connection.execute("CREATE TABLE kept (number int)")
        connection.execute("CREATE UNLOGGED TABLE fleeting (number int)")
        connection.execute("INSERT INTO fleeting VALUES (1)")
        for number in range(200):
            connection.execute("INSERT INTO kept VALUES (%s)", [number])
        connection.execute("BEGIN")
        connection.execute("INSERT INTO kept VALUES (200)")

        postgres.kill()
        postgres.start()

    assert numbers(postgres_url, "kept") == list(range(200))
    assert numbers(postgres_url, "fleeting") == []  # else the kill would prove nothing of the other table


def test_commits_wait_for_the_disk(postgres_url):
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)


def test_only_loopback_reaches_it(postgres):
    addresses = listening(postgres.pids)

    assert addresses == {("127.0.0.1", postgres.port)}
    assert not list(postgres.folder.rglob(".s.PGSQL*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="for those who are not root it runs as they are")
def test_root_does_not_run_it(postgres):
    owners = {Path(f"/proc/{pid}").stat().st_uid for pid in postgres.pids}

    assert 0 not in owners
    assert len(owners) == 1


def test_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("tests.servers.postgres.VERSIONS", tmp_path)

    with pytest.raises(ServerMissingError, match="apt-get install postgresql"):
        Postgres()
