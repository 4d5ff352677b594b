"""PostgreSQL, as Debian packages it: a cluster of one's own, which nothing but loopback reaches."""

import os
import pwd
import shutil
import signal
from pathlib import Path
from typing import ClassVar, LiteralString
from urllib.parse import quote

import psycopg
from psycopg import sql

from tests.servers.ports import LOOPBACK, free_ports
from tests.servers.server import Server, ServerMissingError

VERSIONS = Path("/usr/lib/postgresql")
OWNER = "postgres"
"""Who runs it where root runs the tests, because it refuses root; the package makes this user."""

_PASSWORD = "microlith"


class Postgres(Server):
    """A cluster whose commits are on disk when they are acknowledged, as in production."""

    kind: ClassVar[str] = "postgres"
    _stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # ends what clients do, instead of waiting for it

    def __init__(self) -> None:
        self._programs = _newest_programs()
        super().__init__()
        self._user = OWNER if os.geteuid() == 0 else None
        self._data = self.folder / "data"
        (self.port,) = free_ports(1)

    @property
    def url(self) -> str:
        """The database that is always there, as `[tool.microlith.store]` takes it."""
        return self.database_url("postgres")

    def database_url(self, database: str) -> str:
        """The url of a database; also what psycopg and psql take."""
        return f"postgresql://postgres:{_PASSWORD}@{LOOPBACK}:{self.port}/{quote(database, safe='')}"

    def create_database(self, database: str) -> str:
        """Make an empty database; returns its url."""
        self._execute("CREATE DATABASE {}", database)
        return self.database_url(database)

    def drop_database(self, database: str) -> None:
        """Drop a database; connections to it are closed."""
        self._execute("DROP DATABASE {} WITH (FORCE)", database)

    def drop_schemas(self, *schemas: str) -> None:
        """Drop schemas of the database that is always there, with all they hold."""
        for schema in schemas:
            self._execute("DROP SCHEMA IF EXISTS {} CASCADE", schema)

    def _launch(self) -> None:
        if not self._data.exists():
            self._initialise()
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._run([str(self._programs / "postgres"), "-D", str(self._data), *options], user=self._user)

    def _initialise(self) -> None:
        password = self.folder / "password"
        password.write_text(_PASSWORD, "ascii")
        if self._user is not None:
            for path in (self.folder, password):
                shutil.chown(path, self._user)
        encoding = ["--encoding=UTF8", "--locale=C.UTF-8"]
        access = [f"--username={OWNER}", "--auth=scram-sha-256", f"--pwfile={password}"]
        command = [str(self._programs / "initdb"), f"--pgdata={self._data}", "--no-sync", *encoding, *access]
        self._run_to_the_end(command, user=self._user)

    def _answers(self) -> bool:
        try:
            self._execute("SELECT")
        except psycopg.OperationalError:
            return False
        return True

    def _execute(self, statement: LiteralString, *names: str) -> None:
        with psycopg.connect(self.url, autocommit=True, connect_timeout=10) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _newest_programs() -> Path:
    """The folder with the programs of the newest version."""
    found = {path.parent for path in VERSIONS.glob("*/bin/initdb") if path.parent.parent.name.isdigit()}
    if not found or (os.geteuid() == 0 and not _exists(OWNER)):
        raise ServerMissingError("PostgreSQL is not installed: apt-get install postgresql")
    return max(found, key=lambda folder: int(folder.parent.name))


def _exists(user: str) -> bool:
    return any(entry.pw_name == user for entry in pwd.getpwall())
