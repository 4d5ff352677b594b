"""A project on disk with an aggregate, a process, reactions, personal fields and secrets: what can be replayed."""

from pathlib import Path

from tests.acceptance.cli.shop import APP, PYPROJECT

MESSAGES = """
from typing import Annotated
from uuid import uuid4

from pydantic import SecretStr

from microlith import Command, Event, Personal, Query, Response


class OpenCommand(Command):
    account: str
    owner: Annotated[str, Personal("account")]
    pin: SecretStr
    hint: SecretStr | None = None


class DepositCommand(Command):
    account: str
    amount: int


class RemindCommand(Command):
    account: str


class OpenedEvent(Event):
    account: str
    owner: Annotated[str, Personal("account")]
    pin: SecretStr


class DepositedEvent(Event):
    account: str
    amount: int


class NotedEvent(Event):
    account: str
    number: str
    balance: int


class RemindedEvent(Event):
    account: str


class BalanceResponse(Response):
    balance: int


class BalanceQuery(Query[BalanceResponse]):
    account: str
"""
AGGREGATE = """
from pydantic import SecretStr

from microlith import Aggregate, decides, evolves
from shop.savings import savings
from shop.savings.commands.all import *


class Account(Aggregate, stream="account-{account}"):
    owner: str = ""
    shown: str = ""
    pin: SecretStr = SecretStr("")
    balance: int = 0
    history: list[int] = []

    @decides
    def open(self, command: OpenCommand) -> OpenedEvent | None:
        if self.owner:
            raise ValueError("it is open")
        return OpenedEvent(account=command.account, owner=command.owner, pin=command.pin)

    @decides
    def deposit(self, command: DepositCommand) -> DepositedEvent:
        return DepositedEvent(account=command.account, amount=command.amount)

    @evolves
    def opened(self, event: OpenedEvent) -> None:
        self.owner, self.pin, self.shown = event.owner, event.pin, f"account of {event.owner}"

    @evolves
    def deposited(self, event: DepositedEvent) -> None:
        self.balance += event.amount
        self.history.append(event.amount)


savings.aggregate(Account)
"""
PROCESS = """
from datetime import timedelta

from microlith import Process, Scheduled, continues, starts
from shop.savings import savings
from shop.savings.commands.all import *


class Saving(Process, key="account"):
    deposits: int = 0

    @starts
    def opened(self, event: OpenedEvent) -> Scheduled:
        return Scheduled(RemindCommand(account=event.account), after=timedelta(milliseconds=20))

    @continues
    def deposited(self, event: DepositedEvent) -> None:
        self.deposits += 1


savings.process(Saving)
"""
HANDLERS = """
from pathlib import Path
from uuid import uuid4

from microlith import View
from shop.savings import savings
from shop.savings.commands.all import *
from shop.savings.projections.all import Balance


@savings.handles(DepositedEvent)
async def note(event: DepositedEvent, balances: View[Balance]) -> NotedEvent:
    with Path("effects.txt").open("a") as file:
        file.write(f"{event.account} {event.amount}\\n")
    row = await balances.get(event.account)
    return NotedEvent(account=event.account, number=str(uuid4()), balance=row.balance if row else 0)


@savings.handles(RemindCommand)
async def remind(command: RemindCommand) -> RemindedEvent:
    return RemindedEvent(account=command.account)


@savings.handles(BalanceQuery)
async def balance(query: BalanceQuery, balances: View[Balance]) -> BalanceResponse:
    row = await balances.get(query.account)
    return BalanceResponse(balance=row.balance if row else 0)
"""
PROJECTION = """
from pathlib import Path

from microlith import ReadModel, Table
from shop.savings import savings
from shop.savings.commands.all import DepositedEvent


class Balance(ReadModel, key="account"):
    account: str
    balance: int = 0


balances = savings.projection("balances", Balance)
outside = savings.external_projection("outside")


@balances.on(DepositedEvent)
def deposited(event: DepositedEvent, rows: Table[Balance]) -> None:
    row = rows.get(event.account) or Balance(account=event.account)
    rows.put(Balance(account=event.account, balance=row.balance + event.amount))


@outside.on(DepositedEvent)
def told(event: DepositedEvent) -> None:
    with Path("outside.txt").open("a") as file:
        file.write(f"{event.amount}\\n")
"""


def write_savings(root: Path) -> Path:
    """Write the project into a folder; returns the folder."""
    own = 'from microlith import Component\n\nsavings = Component("savings")\n'
    parts = {
        "commands": MESSAGES,
        "aggregates": AGGREGATE,
        "processes": PROCESS,
        "handlers": HANDLERS,
        "projections": PROJECTION,
    }
    files = {"pyproject.toml": PYPROJECT, "shop/__init__.py": "", "shop/app.py": APP, "shop/savings/__init__.py": own}
    for folder, text in parts.items():
        files |= {f"shop/savings/{folder}/__init__.py": "", f"shop/savings/{folder}/all.py": text}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return root
