"""An application that knows people, and everything that its store keeps of them.

As a program: plants two people, then erases one, and kills itself where it is told to.
"""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from microlith import (
    Aggregate,
    Command,
    Component,
    Event,
    HandlerFailedError,
    Microlith,
    Personal,
    Projection,
    Query,
    ReadModel,
    Response,
    Table,
    View,
    decides,
    evolves,
)

GONE, STAYS = "zanzibar-8471", "okavango-1293"
"""Unique words in everything personal that is planted for the two people."""


class RegisterCommand(Command):
    """Ask for an account; whose it will be is not known yet."""

    email: Annotated[str, Personal()]
    name: Annotated[str, Personal("email")]
    user_id: str


class ComplainCommand(Command):
    """Ask for something that nobody can do."""

    user_id: str
    text: Annotated[str, Personal("user_id")]


class UserRegistered(Event):
    """An account was opened."""

    user_id: str
    email: Annotated[str, Personal("user_id")]
    name: Annotated[str | None, Personal("user_id")] = None
    notes: Annotated[list[str], Personal("user_id", erased=[])]


class UserRenamed(Event):
    """Somebody has another name."""

    user_id: str
    name: Annotated[str, Personal("user_id")]


class RenameCommand(Command):
    """Ask for another name."""

    user_id: str
    name: Annotated[str, Personal("user_id")]


class Person(Aggregate, stream="person-{user_id}", snapshot_every=2):
    """Somebody's names, with a snapshot of them after every second."""

    names: list[str] = Field(default_factory=list)

    @decides
    def rename(self, command: RenameCommand) -> UserRenamed:
        """Take any name."""
        return UserRenamed(user_id=command.user_id, name=command.name)

    @evolves
    def renamed(self, event: UserRenamed) -> None:
        """Remember it."""
        self.names.append(event.name)


class UserResponse(Response):
    """Somebody, in clear: nothing here is marked."""

    email: str | None


class UserRequest(Query[UserResponse]):
    """Ask for somebody."""

    user_id: str


class User(ReadModel, key="user_id", indexes=("email",)):
    """Somebody."""

    user_id: str
    email: str
    names: list[str]


def make_people(directory: str | Path, **options: Any) -> Microlith:
    """Declare the application on a SQLite store in a directory."""
    people = Component("people")
    people.aggregate(Person)
    users: Projection = people.projection("users", User)

    @users.on(UserRegistered)
    def registered(event: UserRegistered, rows: Table[User]) -> None:
        rows.put(User(user_id=event.user_id, email=event.email, names=[event.name or "nobody"]))

    @users.on(UserRenamed)
    def renamed(event: UserRenamed, rows: Table[User]) -> None:
        user = rows.get(event.user_id)
        if user is not None:
            rows.put(User(user_id=user.user_id, email=user.email, names=[*user.names, event.name]))

    @people.handles(RegisterCommand)
    async def register(command: RegisterCommand) -> UserRegistered:
        notes = [f"wrote from {command.email}"]
        return UserRegistered(user_id=command.user_id, email=command.email, name=command.name, notes=notes)

    @people.handles(ComplainCommand)
    async def complain(command: ComplainCommand) -> None:
        raise ValueError(f"{command.text} is no reason")

    @people.handles(UserRequest)
    async def look_up(query: UserRequest, rows: View[User]) -> UserResponse:
        found = await rows.get(query.user_id)
        return UserResponse(email=None if found is None else found.email)

    return Microlith("people", [people], store=f"sqlite:{directory}/events.db", **options)


async def plant(app: Microlith, word: str) -> None:
    """Have an application keep a word about somebody in every way it can."""
    await app.command_bus.execute(
        RegisterCommand(email=f"{word}@example.org", name=f"Name {word}", user_id=word[:3]), until=UserRegistered
    )
    for number in range(20):
        await app.command_bus.execute(RenameCommand(user_id=word[:3], name=f"Name {number} {word}"), until=UserRenamed)
    with suppress(HandlerFailedError):
        await app.command_bus.execute(ComplainCommand(user_id=word[:3], text=f"My {word}"), until=UserRenamed)
    await app.query_bus.ask(UserRequest(user_id=word[:3]))
    await app.idle()
    await asyncio.sleep(0.1)  # the trace log is written a moment later


SUBJECTS = (GONE[:3], f"{GONE}@example.org")


def files_holding(directory: Path, word: str) -> list[str]:
    """Name the files that hold a word."""
    return sorted(
        str(one.relative_to(directory))
        for one in directory.rglob("*")
        if one.is_file() and word.encode() in one.read_bytes()
    )


STEPS = {
    "before the keys": ("microlith.event_store.database.keys", "DatabaseKeys.destroy", "before"),
    "keys, log not cut off": ("microlith.event_store.sqlite.keys", "SQLiteKeys.cut_off", "before"),
    "keys gone": ("microlith.event_store.database.keys", "DatabaseKeys.destroy", "after"),
    "read models half": ("microlith.event_store.database.rebuilding", "_finish", "before"),
    "read models switched": ("microlith.event_store.database.rebuilding", "_finish", "after"),
    "not overwritten": ("microlith.event_store.sqlite.writer", "SQLiteWriter.sweep", "before"),
    "overwritten": ("microlith.event_store.sqlite.writer", "SQLiteWriter.sweep", "after"),
    "trace log there": ("microlith.application.erasing", "remove_trace_log", "before"),
    "trace log gone": ("microlith.application.erasing", "remove_trace_log", "after"),
    "not noted": ("microlith.event_store.database.keys", "DatabaseKeys.finish", "before"),
}
"""Moments of an erasure at which a process may die."""


def die_at(step: str) -> None:
    """Have this process killed at a moment of the next erasure."""
    from importlib import import_module

    module, path, when = STEPS[step]
    owner: Any = import_module(module)
    *outer, name = path.split(".")
    for one in outer:
        owner = getattr(owner, one)
    whole = getattr(owner, name)

    def dying(*args: Any, **options: Any) -> Any:
        if when == "after":
            whole(*args, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, dying)


async def main(directory: str, step: str) -> None:
    """Plant two people and die while one is erased."""
    async with make_people(directory) as app:
        await plant(app, GONE)
        await plant(app, STAYS)
        if app.types.keys is not None:
            for subject in SUBJECTS:
                sys.stdout.write(f"{app.types.keys.key_for(subject).secret.hex()}\n")
            sys.stdout.flush()
        die_at(step)
        await app.erase(*SUBJECTS)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
