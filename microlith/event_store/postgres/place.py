"""Where a PostgreSQL event store lies, as its url says it.

    postgresql://USER:PASSWORD@HOST:PORT/DATABASE?schema=NAME&durability=fast&standby=yes&sslmode=verify-full
    postgresql://USER:PASSWORD@HOST:PORT/DATABASE?shared=yes

Our own options are taken out; all others are libpq's, whose documentation says what they mean. What a url does not say,
libpq takes from its environment variables, its password file and its service file.

Connects to nothing.
"""

import re
from typing import NamedTuple, Self
from urllib.parse import parse_qsl, quote

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from microlith.errors import nearest
from microlith.event_store.database.writer import Durability
from microlith.urls import masked

DEFAULT_SCHEMA = "microlith"
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,50}")


_OPTIONS = ("schema", "durability", "standby", "shared")


class PlaceError(ValueError):
    """A url that names no place; the text says why, without the url.

    Attributes:
        hint: What to do about it, where that is known.
    """

    def __init__(self, problem: str, *, hint: str = "") -> None:
        super().__init__(problem)
        self.hint = hint


def _refused(query: str, reason: str) -> PlaceError:
    """Say what libpq holds against a url: an option that nobody knows, or something else."""
    known = {*_OPTIONS, *(one.keyword.decode() for one in Conninfo.get_defaults())}
    for name, _ in parse_qsl(query, keep_blank_values=True):
        if name not in known and name.isidentifier():  # else it may be a part of a password
            close = nearest(name, known)
            return PlaceError(f"the option {name!r} is not known", hint=f"Did you mean {close!r}?" if close else "")
    return PlaceError(" ".join(reason.split()))


class Place(NamedTuple):
    """One schema of one database.

    Attributes:
        url: For libpq; it may hold a password.
        schema: The schema. The keys of personal fields lie in another one, see `keys`.
        durability: "durable": each commit is on the server's disk before it is acknowledged. "fast": a crash of the
            server may take the newest commits; what remains is the log up to some position.
        shown: The url as it may be shown.
        stands_by: Whether a process that finds it owned waits until it can take over, rather than being refused.
        shared: Whether several processes work on it, of which one leads.
    """

    url: str
    schema: str
    durability: Durability
    shown: str
    stands_by: bool = False
    shared: bool = False

    @classmethod
    def of(cls, url: str) -> Self:
        """Read a url.

        Raises:
            PlaceError: It names no schema that could be, or has an option that nobody knows.
        """
        base, _, query = url.partition("?")
        schema, durability, others = DEFAULT_SCHEMA, "durable", []
        switches = {"standby": False, "shared": False}
        for name, value in parse_qsl(query, keep_blank_values=True):
            if name == "schema":
                schema = value
            elif name == "durability":
                durability = value
            elif name in switches:
                switches[name] = _switched(name, value)
            else:
                others.append(f"{quote(name)}={quote(value, safe='')}")
        if not _SCHEMA.fullmatch(schema) or schema.startswith("pg_"):
            raise PlaceError(
                f"{schema!r} cannot name its schema: up to 51 small letters, digits and underscores, no digit first"
            )
        rest = f"{base}?{'&'.join(others)}" if others else base
        try:
            conninfo_to_dict(rest)
        except ProgrammingError as error:
            raise _refused(query, str(error)) from None
        if durability not in ("durable", "fast"):
            raise PlaceError(f"the durability {durability!r} is not known")
        if all(switches.values()):
            raise PlaceError("a process that shares a store does not stand by: leave standby out")
        return cls(
            rest,
            schema,
            "fast" if durability == "fast" else "durable",
            masked(url),
            switches["standby"],
            switches["shared"],
        )

    @property
    def keys(self) -> str:
        """The schema of the keys, so that they can be backed up apart from what they open."""
        return f"{self.schema}_keys"


def _switched(name: str, value: str) -> bool:
    if value not in ("yes", "no"):
        raise PlaceError(f"{name} is yes or no, not {value!r}")
    return value == "yes"
