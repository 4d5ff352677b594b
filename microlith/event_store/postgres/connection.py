"""Connections to a PostgreSQL server, and what their errors mean.

What a commit promises is set here for each connection, whatever the server's own settings are. A peer that is gone
without a word is noticed by both sides within seconds.

Holds no connection itself.
"""

import os
from collections.abc import Sequence
from functools import cache
from typing import Any
from weakref import WeakSet

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.numeric import Int8BinaryDumper

from microlith.errors import CorruptionError, StoreAwayError, StoreError, StoreUnavailableError
from microlith.event_store.postgres.place import Place

Connection = psycopg.Connection[tuple[Any, ...]]

_open: "WeakSet[Connection]" = WeakSet()
_watching_forks: list[bool] = []

LOCK_SECONDS = 5
"""How long one attempt waits for a lock that another session holds."""
_IDLE_SECONDS = 120
"""How long a transaction may do nothing before the server ends it, with its locks."""

_DEFAULTS = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "target_session_attrs": "read-write",
}
_SETTINGS = f"""
SET search_path TO "{{schema}}";
SET client_encoding TO 'UTF8';
SET synchronous_commit TO {{commit}};
SET default_transaction_isolation TO 'read committed';
SET default_transaction_read_only TO {{reads}};
SET statement_timeout TO 0;
SET lock_timeout TO '{LOCK_SECONDS}s';
SET idle_in_transaction_session_timeout TO '{_IDLE_SECONDS}s';
SET tcp_keepalives_idle TO 10;
SET tcp_keepalives_interval TO 5;
SET tcp_keepalives_count TO 3;
SET tcp_user_timeout TO 20000
"""

_GONE = ("57P01", "57P02", "57P03", "57P05", "25P03", "08")
_BUSY = ("55P03", "40", "57014", "25006", "53300")
_AUTHORS = ("22", "23", "25P02", "54")
_DAMAGED = ("XX001", "XX002")
_FOR_GOOD = ("28", "3D", "3F", "42", "XX")


def connect(place: Place, purpose: str, *, reads: bool = False) -> Connection:
    """Open a connection; each of its statements is a transaction, unless one is begun.

    Args:
        place: Where to.
        purpose: What it is for, in a word; people see it in `pg_stat_activity`.
        reads: It shall only read.

    Raises:
        StoreAwayError: The server does not answer, or does not let us in.
    """
    given = conninfo_to_dict(place.url)
    options: dict[str, Any] = {name: value for name, value in _DEFAULTS.items() if name not in given}
    if reads:
        options.pop("target_session_attrs", None)
    try:
        connection: Connection = psycopg.connect(
            place.url,
            autocommit=True,
            cursor_factory=psycopg.RawCursor,
            application_name=f"microlith {place.schema} {purpose}"[:63],
            **options,
        )
    except psycopg.Error as error:
        raise StoreAwayError(place.shown, said(error)) from None
    try:
        connection.adapters.register_dumper(int, Int8BinaryDumper)
        # psycopg loses count of what is prepared when a statement in a pipeline is skipped behind an error, and when a
        # rollback to a savepoint makes it forget all. Preparing saves a sixth of the time of a full batch, and none else.
        connection.prepare_threshold = None
        connection.execute(
            _SETTINGS.format(
                schema=place.schema,
                commit="off" if place.durability == "fast" else "on",
                reads="on" if reads else "off",
            )
        )
    except psycopg.Error as error:
        connection.close()
        raise StoreAwayError(place.shown, said(error)) from None
    _open.add(connection)
    if not _watching_forks:
        _watching_forks.append(True)
        os.register_at_fork(after_in_child=_forget)
    return connection


def _forget() -> None:
    """Let go of the sockets in a forked child: the server must see that its peer is gone when the parent dies.

    The numbers stay taken, so that whatever closes one of these connections later does no harm.
    """
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for connection in list(_open):
        if not connection.closed:
            os.dup2(nothing, connection.fileno(), inheritable=False)
    os.close(nothing)


@cache
def gives_rows(text: str) -> bool:
    """Tell whether a statement returns rows."""
    return text.startswith("SELECT") or "RETURNING" in text


def run(connection: Connection, text: str, values: Sequence[Any] = ()) -> list[Any]:
    """Run one statement and return its rows. In a pipeline, one without rows is sent and not waited for."""
    cursor = connection.execute(text, values, binary=True)
    return cursor.fetchall() if gives_rows(text) else []


def said(error: Exception) -> str:
    """Return what an error says, in one line and without the values that a detail may quote."""
    text = str(error)
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        text = error.diag.message_primary
    return " ".join(text.split()).rstrip(".?") or type(error).__name__


def _state_of(error: Exception) -> str:
    return (isinstance(error, psycopg.Error) and error.sqlstate) or ""


def is_lost(error: psycopg.Error, connection: Connection) -> bool:
    """Tell whether an error means that the connection is gone."""
    state = _state_of(error)
    if state.startswith(_GONE):
        return True
    return connection.closed or (isinstance(error, psycopg.OperationalError) and not state)


def is_busy(error: psycopg.Error) -> bool:
    """Tell whether an error will be gone after a while: somebody holds a lock, or nobody may write just now."""
    return _state_of(error).startswith(_BUSY)


def is_authors(error: Exception) -> bool:
    """Tell whether an error is about a value, and so about the code that gave it, and not about the database."""
    if not isinstance(error, psycopg.Error):
        return True
    state = _state_of(error)
    return state.startswith(_AUTHORS) or (isinstance(error, psycopg.DataError) and not state)


def judge(error: psycopg.Error, place: Place) -> tuple[StoreError, bool]:
    """Say what an error means for the messages in hand, when it was certain and was not about them.

    Returns:
        The error to tell, and whether the connection may write again.
    """
    state = _state_of(error)
    if state.startswith(_DAMAGED):
        return CorruptionError(place.shown, said(error)), False
    if state.startswith("53"):
        return StoreUnavailableError(
            f"the server lacks room ({said(error)})", hint="Free some space and send the messages again."
        ), True
    return StoreUnavailableError(said(error), hint="Mend the cause on the server, and start again."), not (
        state.startswith(_FOR_GOOD)
    )
