"""The example with its stock in two processes that share a store, over each broker; as its user sees it in a third terminal."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack, suppress

import pytest

from microlith_cli.errors import ToolError
from tests.acceptance.apart import status, tool, until_it_serves
from tests.eventually import eventually
from tests.meta.tree import ROOT

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]

BOOKS = 16
ISBN = "978-0321125217"
DELIVERED = "CopiesDeliveredEvent"
DELIVERING = "stock.Shelf.DeliverCopiesCommand"
ORDERING = {"sales.Purchase.PlaceOrderCommand", "sales.Fulfilment", "stock.Shelf.ReserveCopiesCommand"}
PATIENCE = ("--timeout", "40s")
PROCESSES = {"stock", "stock.2"}


@pytest.fixture(params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("rabbitmq", "kafka")])
def bookshop(request, postgres_url, tmp_path):
    """Copy the example, with a shelf that breaks, and configure it as the guide says."""
    folder = tmp_path / "bookshop"
    shutil.copytree(ROOT / "examples" / "bookshop", folder, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    shelf, app = folder / "bookshop" / "stock" / "aggregates" / "shelf.py", folder / "bookshop" / "app.py"
    name = "bookshop"
    if request.param == "rabbitmq":
        url = f"{request.getfixturevalue('rabbitmq_url')}?shared=yes"
    else:
        name = request.getfixturevalue("kafka_prefix").removesuffix(".")
        url = f"{request.getfixturevalue('kafka').url}?partitions=6&inbox_partitions=2"
    app.write_text(app.read_text("utf-8").replace('Microlith("bookshop"', f'Microlith("{name}"'), "utf-8")
    breaking = '        """Take what comes."""\n        if command.copies > 1000:\n            raise ValueError("the shelf breaks")\n'
    code = shelf.read_text("utf-8")
    assert '        """Take what comes."""\n' in code
    shelf.write_text(code.replace('        """Take what comes."""\n', breaking), "utf-8")
    buses = "".join(f'{bus} = "{url}"\n' for bus in ("command", "query", "event"))
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(f'\n[tool.microlith.store]\nurl = "{postgres_url}?shared=yes"\n\n[tool.microlith.buses]\n{buses}')
    return folder


class Terminal:
    """What a user does in it."""

    def __init__(self, folder, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack

    def start(self, component: str, name: str) -> subprocess.Popen[bytes]:
        """Run a component in a process of its own; what it tells is kept."""
        command = [sys.executable, "-m", "microlith_cli", "run", "--no-reload", "--json", "--component", component]
        out = self._stack.enter_context((self.folder.parent / f"{name}.jsonl").open("ab"))
        process = subprocess.Popen(command, cwd=self.folder, stdout=out, stderr=subprocess.DEVNULL)
        self._stack.callback(self._end, process)
        return process

    async def run(self, component: str, name: str) -> subprocess.Popen[bytes]:
        """Run a component, and return its process once it serves."""
        process = self.start(component, name)
        await until_it_serves(self.folder, name)
        return process

    def leads(self, name: str) -> bool:
        try:
            return bool(status(self.folder, name)["leads"])
        except ToolError:  # it begins or ends
            return False

    def rows(self, *arguments: str, code: int = 0) -> list[dict]:
        ended = tool(*arguments, "--json", cwd=self.folder)
        assert ended.returncode == code, (ended.stdout, ended.stderr)
        return [json.loads(line) for line in ended.stdout.splitlines()]

    def deliver(self, shelf: str) -> None:
        """Have many books delivered to shelves of their own, waiting for each."""
        lines = "".join(json.dumps({"isbn": f"{shelf}{number}", "copies": 5}) + "\n" for number in range(BOOKS))
        (self.folder / "books.jsonl").write_text(lines, "utf-8")
        self.rows(
            "dispatch", "DeliverCopiesCommand", "--batch", "books.jsonl", "--wait", "CopiesDeliveredEvent", *PATIENCE
        )

    def delivered_by(self) -> Counter[str]:
        """Return how many deliveries each process has handled, as its `run` told it."""
        told = {name: (self.folder.parent / f"{name}.jsonl").read_text("utf-8").splitlines() for name in PROCESSES}
        return Counter(
            name
            for name, lines in told.items()
            for fact in map(json.loads, lines)
            if fact.get("type") == "microlith.handled" and fact["data"]["handler"] == DELIVERING
        )

    def order(self, number: str) -> list[dict]:
        """Have a book ordered and paid; return the tree of the order."""
        order = ("--order-id", number, "--customer", "ada", "--isbn", ISBN, "--copies", "2")
        self.rows("dispatch", "PlaceOrderCommand", *order, *PATIENCE, "--wait", "CopiesReservedEvent")
        pay = ("--order-id", number, "--cents", "10998")
        self.rows("dispatch", "PayOrderCommand", *pay, *PATIENCE, "--wait", "OrderShippedEvent")
        return self.rows("trace", "@-2")

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        assert process.wait(60) in {0, -signal.SIGKILL}


@pytest.fixture
def terminal(bookshop):
    with ExitStack() as stack:
        yield Terminal(bookshop, stack)


def handlers_in(tree: list[dict]) -> set[str]:
    return {row["data"]["handler"] for row in tree if row["type"] == "microlith.handled"}


async def test_two_processes_share_the_work_and_one_goes_on_when_the_one_that_leads_is_killed(terminal):
    first = await terminal.run("stock", "stock")
    await terminal.run("stock", "stock.2")
    await terminal.run("sales", "sales")
    standing = [terminal.leads(name) for name in sorted(PROCESSES)]
    shelves = iter("abcdefgh")
    while set(terminal.delivered_by()) != PROCESSES:  # a broker may not have noticed at once that there are two
        terminal.deliver(next(shelves))
    terminal.rows("dispatch", "DeliverCopiesCommand", "--isbn", ISBN, "--copies", "9", *PATIENCE, "--wait", DELIVERED)
    tree = terminal.order("1")
    broken = ("--isbn", "broken", "--copies", "3000", *PATIENCE, "--wait", DELIVERED)
    terminal.rows("dispatch", "DeliverCopiesCommand", *broken, code=1)
    letters = terminal.rows("dead-letters")

    worker = status(terminal.folder, "stock")["worker_pid"]
    first.kill()
    with suppress(ProcessLookupError):  # it may have seen that its supervisor is gone
        os.kill(worker, signal.SIGKILL)
    terminal.deliver("y")  # nobody need lead for this
    await eventually(lambda: terminal.leads("stock.2"), seconds=60)
    terminal.deliver("z")
    later = terminal.order("2")
    letters_later = terminal.rows("dead-letters")
    verified = tool("doctor", "--verify", "--json", cwd=terminal.folder, MICROLITH_COMPONENT="stock")

    assert standing == [True, False]
    for seen in (handlers_in(tree), handlers_in(later)):
        assert seen.issuperset(ORDERING), seen
    assert [(row["handler"], row["error"]) for row in letters] == [(DELIVERING, "ValueError: the shelf breaks")]
    assert [row["id"] for row in letters_later] == [row["id"] for row in letters]
    found = {(row["level"], row["what"]) for row in map(json.loads, verified.stdout.splitlines())}
    assert {one for one in found if one[0] != "ok"} == {("warning", "dead letters: 1")}
    assert any(what.endswith("events match their checksums") for _, what in found)
