"""The proxy passes everything on, until it is told otherwise; then exactly that goes wrong."""

import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.servers.faults import Blow, Fault, blows
from tests.servers.ports import LOOPBACK, free_ports
from tests.servers.processes import listening
from tests.servers.proxy import Proxy

BROKEN = (Fault.CUT, Fault.RESET, Fault.HALF_OPEN, Fault.ORPHAN)


class Peer:
    """A server that keeps what each connection sent, sends it back when `echoing`, and at its end says farewell."""

    def __init__(self) -> None:
        self.echoing = True
        self.farewell = b""
        self.received: list[list[bytes]] = []
        self.ends: list[str] = []
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.received.append([])
                threading.Thread(target=self._serve, args=(connection, self.received[-1]), daemon=True).start()

    def _serve(self, connection: socket.socket, received: list[bytes]) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    received.append(data)
                    if self.echoing:
                        connection.sendall(data)
                self.ends.append("end")
                connection.sendall(self.farewell)
            except (ConnectionResetError, BrokenPipeError):
                self.ends.append("reset")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen within {seconds:g} s"
        time.sleep(0.002)


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
def proxy(peer: Peer) -> Iterator[Proxy]:
    with Proxy(peer.port) as proxy:
        yield proxy


@contextmanager
def connected(proxy: Proxy) -> Iterator[socket.socket]:
    """A client whose first byte has come back: its connection stands on both sides."""
    with socket.create_connection((LOOPBACK, proxy.port), timeout=10) as client:
        client.sendall(b"!")
        assert client.recv(1) == b"!"
        yield client


def receive(client: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size and (data := client.recv(size - len(received))):
        received += data
    return received


def test_everything_passes_in_both_directions(proxy, peer):
    sent = random.Random(1).randbytes(3_000_000)

    with connected(proxy) as client:
        writer = threading.Thread(target=client.sendall, args=(sent,))
        writer.start()
        received = receive(client, len(sent))
        writer.join()

    assert received == sent
    assert b"".join(peer.received[0]) == b"!" + sent
    assert proxy.counts.passed == {"to server": len(sent) + 1, "to client": len(sent) + 1}


def test_end_of_one_direction_leaves_the_other_open(proxy, peer):
    peer.echoing = False
    peer.farewell = b"answer"
    with socket.create_connection((LOOPBACK, proxy.port), timeout=10) as client:
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)

        assert receive(client, 100) == b"answer"
        assert peer.received == [[b"question"]]
    wait_until(lambda: proxy.connected == 0)


def test_connections_are_counted(proxy):
    for _ in range(3):
        with connected(proxy):
            pass
    with connected(proxy):
        wait_until(lambda: proxy.connected == 1)

    assert proxy.counts.connections == 4


def test_cut_is_the_end_of_the_stream_on_both_sides(proxy, peer):
    with connected(proxy) as client:
        client.sendall(b"a" * 100_000)  # some of it is unread when the end comes
        proxy.strike(Fault.CUT)

        while client.recv(65536):
            pass
    wait_until(lambda: peer.ends == ["end"])


def test_reset_is_seen_by_both_sides(proxy, peer):
    with connected(proxy) as client:
        proxy.strike(Fault.RESET)

        with pytest.raises(ConnectionResetError):
            client.recv(1)
        wait_until(lambda: peer.ends == ["reset"])


def test_half_open_connection_stays_and_carries_nothing(proxy, peer):
    with connected(proxy) as client:
        proxy.strike(Fault.HALF_OPEN)

        client.sendall(b"lost")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        with connected(proxy):  # a new one is not concerned
            assert peer.ends == []
        assert peer.received[0] == [b"!"]


def test_orphan_is_an_end_for_the_client_and_nothing_for_the_server(proxy, peer):
    with connected(proxy) as client:
        proxy.strike(Fault.ORPHAN)

        assert client.recv(1) == b""
    with connected(proxy):
        assert len(peer.received) == 2
        assert peer.ends == []


def test_stall_delays_and_loses_nothing(proxy):
    with connected(proxy) as client:
        started = time.monotonic()
        proxy.strike(Blow(Fault.STALL, seconds=0.3))

        client.sendall(b"late")

        assert receive(client, 4) == b"late"
        assert 0.3 <= time.monotonic() - started < 5


def test_second_stall_is_not_ended_by_the_first(proxy):
    with connected(proxy) as client:
        started = time.monotonic()
        proxy.strike(Blow(Fault.STALL, seconds=0.1))
        proxy.strike(Blow(Fault.STALL, seconds=0.4))

        client.sendall(b"late")

        assert receive(client, 4) == b"late"
        assert time.monotonic() - started >= 0.4


def test_trickle_writes_byte_by_byte_and_loses_nothing(proxy, peer):
    sent = random.Random(2).randbytes(300)
    with connected(proxy) as client:
        proxy.strike(Blow(Fault.TRICKLE, seconds=30))

        client.sendall(sent)

        assert receive(client, len(sent)) == sent
    pieces = peer.received[0][1:]
    assert b"".join(pieces) == sent
    assert len(pieces) > len(sent) / 4  # a peer that is slow finds several at once


@pytest.mark.parametrize("fault", BROKEN)
def test_blow_strikes_after_exactly_so_many_bytes_to_the_server(proxy, peer, fault):
    with connected(proxy) as client:
        proxy.strike(Blow(fault, after=7))

        client.sendall(b"0123456789")

        wait_until(lambda: proxy.counts.faults[fault] == 1 and proxy.connected == 0)
        wait_until(lambda: b"".join(peer.received[0]) == b"!0123456")


def test_blow_strikes_after_exactly_so_many_bytes_to_the_client(proxy):
    with connected(proxy) as client:
        proxy.strike(Blow(Fault.CUT, after=7, way="to client"))

        client.sendall(b"0123456789")

        assert receive(client, 10) == b"0123456"


def test_blow_that_waits_for_bytes_strikes_one_connection_only(proxy):
    with connected(proxy) as spared, connected(proxy) as struck:
        proxy.strike(Blow(Fault.CUT, after=1))

        struck.sendall(b"a")

        assert receive(struck, 1) in {b"", b"a"}
        wait_until(lambda: proxy.connected == 1)
        spared.sendall(b"b")
        assert receive(spared, 1) == b"b"


def test_refused_connections_come_through_again_later(proxy):
    with connected(proxy) as before:
        proxy.refuse()

        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((LOOPBACK, proxy.port), timeout=10)
        before.sendall(b"a")
        assert before.recv(1) == b"a"
    proxy.accept()
    with connected(proxy):
        pass


def test_client_is_reset_while_the_server_is_away():
    (nobody,) = free_ports(1)
    with Proxy(nobody) as proxy, socket.create_connection((LOOPBACK, proxy.port), timeout=10) as client:
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert proxy.connected == 0


def test_nothing_is_left_of_a_proxy_whatever_has_struck(peer):
    threads = set(threading.enumerate())
    with Proxy(peer.port) as proxy:
        for fault in Fault:
            with connected(proxy):
                proxy.strike(fault)
        with connected(proxy):
            pass
        port = proxy.port

    wait_until(lambda: len(peer.ends) == len(Fault) + 1)
    assert (LOOPBACK, port) not in listening([os.getpid()])
    assert {thread for thread in threading.enumerate() if thread.name.startswith("proxy")} <= threads


def test_two_hundred_blows_leave_neither_connections_nor_tasks(peer):
    with Proxy(peer.port) as proxy:
        for blow in blows(seed=3, count=200, longest=0.02):
            with suppress(OSError), connected(proxy) as client:
                proxy.strike(blow)
                client.settimeout(0.05)
                client.sendall(b"a" * 20)
                receive(client, 20)
        wait_until(lambda: proxy.connected == 0)

        assert sum(proxy.counts.faults.values()) > 50
    assert not proxy._tasks
    assert not proxy._sockets


def test_blows_follow_from_their_seed():
    first, again, other = (list(blows(seed, 300)) for seed in (1, 1, 2))

    assert first == again
    assert first != other
    assert {blow.fault for blow in first} == set(Fault)
    assert any(blow.after == 0 for blow in first)
    assert any(blow.after > 0 for blow in first)


def test_url_leads_through_the_proxy(proxy):
    url = f"postgresql://postgres:secret@{LOOPBACK}:{proxy.target}/shop"

    assert proxy.through(url) == f"postgresql://postgres:secret@{LOOPBACK}:{proxy.port}/shop"
    with pytest.raises(ValueError, match="does not lead to"):
        proxy.through("postgresql://elsewhere/shop")
