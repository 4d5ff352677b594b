"""The application that is killed: a deposit makes an event, the event is audited, and a read model adds up."""

import asyncio
import os
import sys
from pathlib import Path

from microlith import Command, Component, Event, Microlith, ReadModel, Table


class Deposit(Command):
    """Ask for a deposit; the number tells one from another."""

    number: int


class DepositedEvent(Event):
    """A deposit was made."""

    number: int


class AuditedEvent(Event):
    """A deposit was seen by the audit."""

    number: int


class Seen(ReadModel, key="number"):
    """How often each deposit was made and audited."""

    number: int
    deposits: int = 0
    audits: int = 0


class Poison(Command):
    """Ask for the end of the process."""


def make_bank(directory: str, store: str | None = None) -> Microlith:
    """Declare the application on a SQLite store in a directory, or on another store."""
    bank = Component("bank")
    seen = bank.projection("seen", Seen)

    @seen.on(DepositedEvent)
    def deposited(event: DepositedEvent, table: Table[Seen]) -> None:
        row = table.get(event.number) or Seen(number=event.number)
        table.put(row.model_copy(update={"deposits": row.deposits + 1}))

    @seen.on(AuditedEvent)
    def audited(event: AuditedEvent, table: Table[Seen]) -> None:
        row = table.get(event.number) or Seen(number=event.number)
        table.put(row.model_copy(update={"audits": row.audits + 1}))

    @bank.handles(Deposit)
    async def deposit(command: Deposit) -> DepositedEvent:
        return DepositedEvent(number=command.number)

    @bank.handles(DepositedEvent)
    async def audit(event: DepositedEvent) -> AuditedEvent:
        return AuditedEvent(number=event.number)

    @bank.handles(Poison)
    async def poison(command: Poison) -> None:
        os._exit(9)

    return Microlith("bank", [bank], store=store or f"sqlite:{directory}/events.db", root=Path(directory))


def say(word: str, number: int) -> None:
    """Tell the one who keeps the books, in one write that no buffer can lose."""
    os.write(1, f"{word} {number}\n".encode())


async def run_under_load(directory: str, first: int, *, acknowledge_early: bool) -> None:
    """Deposit as fast as it goes, until killed. Bounded, should nobody kill it.

    `acknowledge_early` is the planted bug: it acknowledges before the commit.
    """
    async with make_bank(directory) as app:
        say("open", first)
        numbers = iter(range(first, first + 20_000))

        async def client() -> None:
            for number in numbers:
                say("try", number)
                receipt = app.command_bus.dispatch(Deposit(number=number))
                if not acknowledge_early:
                    await receipt
                say("ack", number)
                await asyncio.sleep(0)

        await asyncio.gather(*(client() for _ in range(20)))


async def meet_poison(directory: str) -> None:
    """Handle a harmless message and then a poisonous one."""
    async with make_bank(directory) as app:
        await app.command_bus.execute(Deposit(number=1), until=AuditedEvent)
        await app.command_bus.dispatch(Poison())
        await asyncio.sleep(5)


async def carry_on(directory: str) -> None:
    """Carry on what is left, and handle one harmless message."""
    async with make_bank(directory) as app:
        await app.command_bus.execute(Deposit(number=os.getpid()), until=AuditedEvent, timeout=20)
        await asyncio.sleep(0.2)


def serve() -> None:
    """Fork a process under load for each line of standard input: DIRECTORY FIRST early|late.

    Forking from a process that has imported everything makes a trial cost what it tests, not the imports.
    """
    directory = sys.argv[1]
    for line in sys.stdin:
        first, mode = line.split()
        pid = os.fork()
        if pid == 0:
            asyncio.run(run_under_load(directory, int(first), acknowledge_early=mode == "early"))
            os._exit(0)
        say("pid", pid)
        os.waitpid(pid, 0)
        say("gone", pid)


if __name__ == "__main__":
    serve()
