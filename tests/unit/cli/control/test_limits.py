import asyncio
import json
import socket
import threading
import time

import pytest

from microlith_cli.control import connection, server
from microlith_cli.control.client import attach
from microlith_cli.errors import (
    NothingRunsError,
)
from tests.eventually import eventually
from tests.unit.cli.control.channel import echoed, in_thread, raw, read_lines


async def test_line_without_an_end_is_refused_and_the_client_cut_off(control):
    def exchange():
        with raw(control) as connected:
            try:
                for _ in range(40):
                    connected.sendall(b"x" * (64 << 10))
            except (BrokenPipeError, ConnectionResetError):
                pass
            try:
                return connected.makefile("rb").readlines()
            except ConnectionResetError:
                return []

    await in_thread(exchange)

    assert await in_thread(lambda: echoed(control))


async def test_too_many_open_requests_of_one_client_are_refused(control):
    def exchange():
        with raw(control) as connected:
            asked = [{"id": n, "verb": "hang"} for n in range(connection.MAX_OPEN + 1)]
            connected.sendall(b"".join(json.dumps(one).encode() + b"\n" for one in asked))
            return read_lines(connected, 2)[1]

    refused = await in_thread(exchange)

    assert (refused["id"], refused["error"]["type"]) == (connection.MAX_OPEN, "TooManyError")


async def test_too_many_clients_are_turned_away_with_a_reason(control):
    held = await in_thread(lambda: [raw(control) for _ in range(server.MAX_CLIENTS)])
    try:
        await in_thread(lambda: [read_lines(one, 1) for one in held])
        with pytest.raises(NothingRunsError, match="connected already"):
            await in_thread(lambda: attach(control.directory))
    finally:
        for one in held:
            one.close()

    await eventually(lambda: not control.clients)
    assert await in_thread(lambda: echoed(control))


async def test_more_callers_than_may_wait_are_let_in_one_after_the_other(control):
    """Nobody is let in while the loop stands still; those who find no place in the queue try again."""
    callers = [asyncio.create_task(in_thread(lambda: echoed(control))) for _ in range(3 * server.AT_A_TIME)]
    await asyncio.sleep(0)
    time.sleep(0.3)  # noqa: ASYNC251 (the loop is to stand still)

    assert all(await asyncio.gather(*callers))


async def test_callers_that_go_at_once_take_no_place(control):
    def storm():
        for _ in range(20 * server.MAX_CLIENTS):
            raw(control).close()

    storming = asyncio.create_task(in_thread(storm))
    while not storming.done():
        assert len(control.clients) < server.MAX_CLIENTS
        await asyncio.sleep(0)
    await storming


async def test_client_that_does_not_read_loses_facts_and_is_told_how_many(control, desk):
    def flood_then_read():
        with raw(control) as connected:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connected.sendall(b'{"id": 1, "verb": "flood", "of": 5000, "missed": 70}\n')
            flooded.wait(10)
            lines = connected.makefile("rb")
            received, sent = 0, None
            for line in lines:
                reply = json.loads(line)
                if "sent" in reply:
                    sent = reply["sent"]
                elif reply.get("fact", {}).get("type") == "microlith.dropped":
                    return received, sent, reply["fact"]
                else:
                    received += "fact" in reply
            raise AssertionError("the count never came")

    flooded = threading.Event()
    reading = asyncio.create_task(in_thread(flood_then_read))

    await eventually(lambda: desk.clients and desk.clients[0].dropped)
    assert desk.clients[0]._transport.get_write_buffer_size() <= connection.BUFFER
    assert await in_thread(lambda: echoed(control))
    flooded.set()

    received, sent, fact = await reading

    assert received == sent
    assert fact["data"] == {"count": 5000 - received + 70}  # with those that had been missed before they came here
    assert (fact["source"], fact["specversion"]) == ("/shop", "1.0")


async def test_answer_has_room_beside_facts_that_were_not_read_yet(control, desk):
    def flood_ask_and_read():
        with raw(control) as connected:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connected.sendall(b'{"id": 1, "verb": "flood", "of": 5000}\n')
            connected.sendall(json.dumps({"id": 2, "verb": "echo", "say": "x" * 1_000_000}).encode() + b"\n")
            answered.wait(10)
            for line in connected.makefile("rb"):
                reply = json.loads(line)
                if reply.get("id") == 2:
                    return len(reply["said"])
            return None

    answered = threading.Event()
    reading = asyncio.create_task(in_thread(flood_ask_and_read))

    await eventually(lambda: len(desk.clients) == 2)
    assert desk.clients[0]._transport.get_write_buffer_size() > connection.BUFFER
    answered.set()

    assert await reading == 1_000_000


async def test_client_that_asks_and_never_reads_is_cut_off(control, desk):
    def exchange():
        with raw(control) as connected:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            for at in range(100_000):
                connected.sendall(json.dumps({"id": at, "verb": "echo", "say": "x" * 10_000}).encode() + b"\n")

    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        await in_thread(exchange)

    await eventually(lambda: not control.clients)


async def test_half_a_line_is_not_waited_for_long(control, monkeypatch):
    monkeypatch.setattr(connection, "LINE_SECONDS", 0.1)

    def exchange():
        with raw(control) as connected:
            connected.sendall(b'{"id": 1, ')
            lines = connected.makefile("rb")
            return lines.readline(), lines.readline()

    hello, end = await in_thread(exchange)

    assert hello
    assert end == b""


async def test_line_that_trickles_in_is_not_waited_for_long_either(control, monkeypatch):
    monkeypatch.setattr(connection, "LINE_SECONDS", 0.3)

    def exchange():
        with raw(control) as connected:
            for sent in range(1000):
                try:
                    connected.sendall(b"x")
                except (BrokenPipeError, ConnectionResetError):
                    return sent
                time.sleep(0.01)
            return None

    sent = await in_thread(exchange)

    assert sent is not None, "each byte gave it more time"
    assert await in_thread(lambda: echoed(control))


async def test_line_that_comes_in_pieces_and_the_next_one_are_read(control):
    def exchange():
        with raw(control) as connected:
            for piece in (
                b'{"id": 1, "verb"',
                b': "echo", "say": 1}',
                b'\n{"id": 2, "verb": "echo", "say"',
                b": 2}\n\n",
            ):
                connected.sendall(piece)
                time.sleep(0.02)
            return [line.get("said") for line in read_lines(connected, 3)[1:]]

    assert await in_thread(exchange) == [1, 2]


async def test_silent_client_is_let_go_and_a_waiting_one_is_not(control, monkeypatch):
    monkeypatch.setattr(connection, "IDLE_SECONDS", 0.1)

    def silent():
        with raw(control) as connected:
            lines = connected.makefile("rb")
            return lines.readline(), lines.readline()

    def waiting():
        with raw(control) as connected:
            connected.sendall(b'{"id": 1, "verb": "hang"}\n')
            connected.settimeout(0.5)
            lines = connected.makefile("rb")
            lines.readline()
            with pytest.raises(TimeoutError):
                lines.readline()

    _, end = await in_thread(silent)
    await in_thread(waiting)

    assert end == b""
