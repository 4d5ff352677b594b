"""`python -m tests.servers`: servers for people, and nothing of them afterwards."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest

from tests.meta.tree import ROOT
from tests.servers.__main__ import KINDS
from tests.servers.processes import is_alive, wait_until_gone, with_descendants
from tests.servers.server import ServerMissingError

pytestmark = [pytest.mark.rabbitmq, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(240)]

COMMAND = [sys.executable, "-m", "tests.servers"]


@dataclass
class Shown:
    kind: str
    url: str
    pid: int
    folder: Path


@contextmanager
def running(*kinds: str) -> Iterator[tuple[subprocess.Popen[str], list[Shown]]]:
    """Run the command, and read where the servers are."""
    with subprocess.Popen([*COMMAND, *kinds], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            shown = []
            for kind in kinds:
                name, url, _, pid, _, log = process.stdout.readline().split()
                assert name == kind
                shown.append(Shown(kind, url, int(pid), Path(log).parent))
            assert "Ctrl-C" in process.stdout.readline()
            yield process, shown
        finally:
            process.kill()


@pytest.fixture(autouse=True)
def installed(unavailable: Callable[[str], NoReturn]) -> None:
    for kind in KINDS.values():
        try:
            kind()
        except ServerMissingError as missing:
            unavailable(str(missing))


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_server_runs_until_it_is_told_to_end(end):
    with running("postgres") as (process, [postgres]):
        psycopg.connect(postgres.url).close()

        process.send_signal(end)

        assert process.wait(30) == 0
        assert not is_alive(postgres.pid)
        assert not postgres.folder.exists()


def test_servers_of_all_kinds_die_with_the_command_and_leave_nothing():
    with running("rabbitmq", "kafka", "postgres") as (process, shown):
        pids = with_descendants([process.pid])
        assert {server.pid for server in shown} < pids

        process.send_signal(signal.SIGKILL)

        wait_until_gone(pids, seconds=30)
        assert not [server.folder for server in shown if server.folder.exists()]


def test_server_that_is_not_known_is_refused_with_those_that_are():
    refused = subprocess.run([*COMMAND, "redis"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert refused.returncode == 2
    assert "'redis' (choose from" in refused.stderr
    assert "postgres" in refused.stderr


def test_server_that_is_not_installed_is_told_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("MICROLITH_KAFKA_JARS", str(tmp_path))

    refused = subprocess.run([*COMMAND, "kafka"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert refused.returncode == 4
    assert refused.stderr.startswith("error Kafka ")
    assert refused.stderr.count("\n") == 1
