"""What every kind of server has in common, on the smallest one: a program that answers with its own pid."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.meta.tree import ROOT
from tests.servers import ports as chosen
from tests.servers import server as servers
from tests.servers.ports import LOOPBACK, free_ports
from tests.servers.processes import is_alive, listening, wait_until_gone
from tests.servers.server import Server, ServerFailedError

PROGRAM = """
import os, signal, socket, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
with open("starts", "a") as starts:
    starts.write(".")
def end(*_):
    child.kill()
    child.wait()
    print("ended in order", flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, end)
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as listener:
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(str(child.pid).encode())
"""


def wait_until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen within {seconds:g} s"
        time.sleep(0.01)


class Small(Server):
    kind = "small"

    def __init__(self, program: str = PROGRAM) -> None:
        super().__init__()
        self.program = program
        (self.port,) = free_ports(1)

    @property
    def url(self) -> str:
        return f"small://{LOOPBACK}:{self.port}"

    def child(self) -> int:
        with socket.create_connection((LOOPBACK, self.port), timeout=5) as connection:
            return int(connection.recv(20))

    def _launch(self) -> None:
        self._run([sys.executable, "-c", self.program, LOOPBACK, str(self.port)])

    def _answers(self) -> bool:
        return bool(self.child())


def test_server_answers_once_it_is_started():
    with Small() as server:
        assert server.is_running
        assert server.pids == {server.pid, server.child()}


def test_server_leaves_nothing_behind():
    with Small() as server:
        pids = server.pids

    assert not any(is_alive(pid) for pid in pids)
    assert not server.folder.exists()


def test_kill_ends_children_too_and_keeps_the_data():
    with Small() as server:
        pids = server.pids

        server.kill()

        assert not any(is_alive(pid) for pid in pids)
        assert "ended in order" not in server.log.read_text("utf-8")
        assert (server.folder / "starts").read_text("ascii") == "."


def test_stop_lets_the_server_end_in_order():
    with Small() as server:
        server.stop()

        assert not server.is_running
        assert "ended in order" in server.log.read_text("utf-8")


@pytest.mark.parametrize("way", [Server.stop, Server.kill])
def test_server_starts_again_on_its_port_with_its_data(way):
    with Small() as server:
        url, first = server.url, server.pid
        way(server)

        server.restart()

        assert server.url == url
        assert server.pid != first
        assert server.child() in server.pids
        assert (server.folder / "starts").read_text("ascii") == ".."


def test_start_of_a_running_server_changes_nothing():
    with Small() as server:
        first = server.pid

        server.start()

        assert server.pid == first


def test_server_that_ends_while_it_starts_is_told_with_its_log():
    server = Small("raise SystemExit('no room on the disk')")

    with pytest.raises(ServerFailedError, match=r"small: it ended while it started.*\n.*no room on the disk"), server:
        pass

    assert not server.folder.exists()


def test_server_that_never_answers_is_killed(monkeypatch):
    monkeypatch.setattr(servers, "PATIENCE", 0.5)
    server = Small("import time; time.sleep(600)")

    with pytest.raises(ServerFailedError, match=r"small: it did not answer within 0\.5 s"), server:
        pass

    assert not server.pids


def test_server_that_does_not_end_is_killed(monkeypatch):
    with Small(PROGRAM.replace("os._exit(0)", "return")) as server:
        monkeypatch.setattr(servers, "PATIENCE", 0.5)

        with pytest.raises(ServerFailedError, match=r"small: it did not end within 0\.5 s"):
            server.stop()

        assert not server.pids


def test_server_outlives_the_thread_that_started_it():
    server = Small()
    starting = threading.Thread(target=server.start)
    starting.start()
    starting.join()

    try:
        assert server.child() in server.pids
    finally:
        server.discard()


def test_server_dies_with_the_process_that_started_it(tmp_path):
    script = (
        "from tests.servers.test_server import Small\n"
        "import signal\n"
        "with Small() as server:\n"
        "    print(*server.pids, server.folder, flush=True)\n"
        "    signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        *pids, folder = process.stdout.readline().split()
        os.kill(process.pid, signal.SIGKILL)

    assert len(pids) == 2
    wait_until_gone([int(pid) for pid in pids])
    wait_until(lambda: not Path(folder).exists())


def test_listeners_are_found_with_their_addresses():
    with socket.create_server(("0.0.0.0", 0)) as everywhere, socket.create_server((LOOPBACK, 0)) as here:
        found = listening([os.getpid()])

        assert {("0.0.0.0", everywhere.getsockname()[1]), (LOOPBACK, here.getsockname()[1])} <= found


def test_listeners_are_found_on_the_newer_protocol_too():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as here:
        assert ("::1", here.getsockname()[1]) in listening([os.getpid()])


def test_free_ports_are_out_of_reach_of_outgoing_connections():
    ports = free_ports(50)

    assert len(set(ports)) == 50
    assert max(ports) < int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])


def test_port_that_is_taken_is_not_free(monkeypatch):
    taken, free = free_ports(2)
    drawn = iter([taken, free])
    monkeypatch.setattr(chosen, "_chance", SimpleNamespace(randrange=lambda *_: next(drawn)))

    with socket.create_server((LOOPBACK, taken)):
        assert free_ports(1) == [free]
