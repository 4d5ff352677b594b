"""The example in a process for each component, over each broker and with each store of its own that the guide names."""

import json
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.acceptance.apart import tool, until_it_serves
from tests.eventually import eventually
from tests.meta.tree import ROOT

pytestmark = pytest.mark.timeout(240)

ISBN = "978-0321125217"
COMBINATIONS = [
    pytest.param(broker, store, marks=[getattr(pytest.mark, broker), *([pytest.mark.postgres] * (store == "postgres"))])
    for broker in ("rabbitmq", "kafka")
    for store in ("sqlite", "postgres")
]


@pytest.fixture
def bookshop(request, broker, store, tmp_path):
    """Copy the example, and configure it as the guide says."""
    folder = tmp_path / "bookshop"
    shutil.copytree(ROOT / "examples" / "bookshop", folder, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    name = "bookshop"
    if broker == "rabbitmq":
        url = request.getfixturevalue("rabbitmq_url")  # a virtual host of its own
    else:
        name = request.getfixturevalue("kafka_prefix").removesuffix(".")
        url = f"{request.getfixturevalue('kafka').url}?partitions=2&inbox_partitions=4"
        app = folder / "bookshop" / "app.py"
        app.write_text(app.read_text("utf-8").replace('Microlith("bookshop"', f'Microlith("{name}"'), "utf-8")
    lines = [f'{bus} = "{url}"' for bus in ("command", "query", "event")]
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as file:
        if store == "postgres":
            file.write(f'\n[tool.microlith.store]\nurl = "{request.getfixturevalue("postgres_url")}"\n')
        file.write("\n".join(["\n[tool.microlith.buses]", *lines, ""]))
    return folder


@contextmanager
def running(folder):
    """Run all components; check that they end well."""
    command = [sys.executable, "-m", "microlith_cli", "run", "--all", "--no-reload"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said


@pytest.mark.parametrize(("broker", "store"), COMBINATIONS)
async def test_an_order_takes_its_way_through_two_processes(bookshop):
    def run(*arguments: str) -> str:
        ended = tool(*arguments, cwd=bookshop)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def status_of_order():
        answer = json.loads(run("dispatch", "OrderRequest", "--order-id", "1", "--json").splitlines()[-1])
        return answer["data"]["status"]

    with running(bookshop):
        for component in ("sales", "stock"):
            await until_it_serves(bookshop, component)

        patience = ("--timeout", "30s", "--wait")
        run("dispatch", "DeliverCopiesCommand", "--isbn", ISBN, "--copies", "3", *patience, "CopiesDeliveredEvent")
        order = ("--order-id", "1", "--customer", "ada", "--isbn", ISBN, "--copies", "2")
        run("dispatch", "PlaceOrderCommand", *order, *patience, "CopiesReservedEvent")
        run("dispatch", "PayOrderCommand", "--order-id", "1", "--cents", "10998", *patience, "OrderShippedEvent")
        await eventually(lambda: status_of_order() == "shipped", seconds=30)
