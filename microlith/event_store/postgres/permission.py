"""Whether a process may write: as the owner of a schema, or as one of those that share it.

Looked at in each transaction, under the lock on the row that says where the log ends.
"""

import json
import logging
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Protocol

import psycopg
from pydantic.errors import PydanticUserError

from microlith.errors import StoreAwayError, StoreError
from microlith.event_store.database.statements import statements
from microlith.event_store.postgres.connection import connect, run, said
from microlith.event_store.postgres.place import Place
from microlith.event_store.projecting import Projecting
from microlith.serialization import MessageType, MessageTypes

logger = logging.getLogger("microlith.event_store")

Leader = tuple[str, str]
"""Who owns or leads, and what those who share agree on: "" where nobody shares."""


class Permission(Protocol):
    """What lets a process write."""

    @property
    def lost(self) -> StoreError | None:
        """Why it was lost for good; None while it holds."""
        ...

    def refusal(self, epoch: int, leader: Callable[[], Leader]) -> StoreError | None:
        """Say why a transaction may not write; None when it may.

        Args:
            epoch: The number of the present ownership.
            leader: Looks up whose it is.
        """
        ...


class MembershipLostError(StoreError):
    """Whoever leads now does not share the store with this process; it writes no more."""

    def __init__(self, place: str, leader: str, reason: str) -> None:
        super().__init__(
            f"This process writes no more to the event store {place}: {leader or 'another process'} {reason}.",
            hint="Stop this process, and start it anew as that one was.",
        )


class Membership:
    """What a process has that shares a schema and does not lead.

    Attributes:
        leader: Who leads, as it said itself.
        lost: Why it may write no more.
    """

    def __init__(self, place: Place, agreed: str) -> None:
        self.leader = ""
        self.lost: StoreError | None = None
        self._place = place
        self._agreed = agreed
        self._epoch = -1

    def refusal(self, epoch: int, leader: Callable[[], Leader]) -> StoreError | None:
        """Say why a transaction may not write: whoever leads now does not share, or folds otherwise."""
        if self.lost is None and epoch != self._epoch:
            self.leader, agreed = leader()
            if agreed == self._agreed:
                self._epoch = epoch
            else:
                reason = (
                    "leads it with other message types or projections" if agreed else "owns it and does not share it"
                )
                self.lost = MembershipLostError(self._place.shown, self.leader, reason)
                logger.critical("%s", self.lost)
        return self.lost


def agreement(types: MessageTypes, projections: Iterable[Projecting]) -> str:
    """Return what those who share a store must agree on: what may be in it, and how each folds what it appends."""
    declared = [
        f"{one.component} {one.name} {one.version} {_shape(one)}" for one in types if one.kind in ("command", "event")
    ]
    declared += [f"{one.name} {one.fingerprint} {one.inline}" for one in projections]
    return "agreed " + blake2b("\n".join(sorted(declared)).encode(), digest_size=12).hexdigest()


def _shape(entry: MessageType) -> str:
    """Write down the shape of a type's messages: who has not a field refuses what has it."""
    try:
        return json.dumps(entry.cls.model_json_schema(), sort_keys=True)
    except PydanticUserError:  # a field has no schema: then its name and type have to do
        return " ".join(f"{name}:{field.annotation}" for name, field in entry.cls.model_fields.items())


def agreed_in(place: Place) -> tuple[str, str]:
    """Return who leads a schema, and what is agreed on there; "" where it is not shared, or nobody has led it yet.

    Raises:
        StoreAwayError: The server does not answer.
    """
    connection = connect(place, "member", reads=True)
    try:
        owner, agreed = run(connection, statements("postgres_owning.sql")["select_leader"])[0]
    except psycopg.errors.UndefinedTable:
        return "", ""
    except psycopg.Error as error:
        raise StoreAwayError(place.shown, said(error)) from None
    finally:
        connection.close()
    return owner, agreed
