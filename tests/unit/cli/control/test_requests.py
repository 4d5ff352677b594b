import asyncio
import os
import random
import socket
from functools import partial
from typing import Any

import pytest

from microlith_cli.control.lines import MAX_LINE
from tests.unit.cli.control.channel import ask, attached, echoed, in_thread, raw, read_lines


async def test_client_is_greeted(control):
    def greeted():
        with attached(control) as session:
            return session.hello

    assert await in_thread(greeted) == {
        "hello": "microlith",
        "protocol": 1,
        "app": "shop",
        "version": "0.1.0",
        "pid": os.getpid(),
        "generation": 1,
    }


async def test_replies_come_in_order_until_the_end(control):
    (replies,) = await in_thread(lambda: ask(control, {"verb": "count", "to": 3}))

    assert [reply.get("at") for reply in replies] == [0, 1, 2, None]
    assert replies[-1]["end"]


async def test_session_asks_more_than_once(control):
    first, second = await in_thread(lambda: ask(control, {"verb": "echo", "say": "a"}, {"verb": "echo", "say": "b"}))

    assert (first[0]["said"], second[0]["said"]) == ("a", "b")


async def test_many_clients_are_served_at_once(control):
    def one(number: int) -> Any:
        return ask(control, {"verb": "echo", "say": number})[0][0]["said"]

    answers = await asyncio.gather(*(in_thread(partial(one, number)) for number in range(20)))

    assert answers == list(range(20))


async def test_reply_of_a_megabyte_arrives_whole(control):
    big = "x" * (MAX_LINE - 1000)

    ((reply,),) = await in_thread(lambda: ask(control, {"verb": "echo", "say": big}))

    assert reply["said"] == big


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b'{"id": 1, "verb": "load"}', "UnknownVerbError"),
        (b'{"id": 1, "verb": ["echo"]}', "UnknownVerbError"),
        (b'{"id": 1}', "UnknownVerbError"),
        (b'{"verb": "echo"}', "UsageError"),
        (b'{"id": true, "verb": "echo"}', "UsageError"),
        (b'{"id": 1.5, "verb": "echo"}', "UsageError"),
        (b'{"id": null, "verb": "echo"}', "UsageError"),
        (b'{"id": "' + b"x" * 65 + b'", "verb": "echo"}', "UsageError"),
        (b"GET / HTTP/1.1", "UnsafeJsonError"),
        (b"\x16\x03\x01\x00", "UnsafeJsonError"),
        (b"[]", "UnsafeJsonError"),
        (b'{"id": 1, "verb": "echo", "say": NaN}', "UnsafeJsonError"),
        (b'{"id": 1, "id": 2, "verb": "echo"}', "UnsafeJsonError"),
        (b'{"id": 1, "verb": "echo", "say": ' + b"[" * 100_000, "UnsafeJsonError"),
    ],
)
async def test_request_that_cannot_be_is_refused_and_the_next_one_served(control, line, kind):
    def exchange():
        with raw(control) as connected:
            connected.sendall(line + b'\n{"id": 7, "verb": "echo", "say": 1}\n')
            return read_lines(connected, 3)

    _, refused, served = await in_thread(exchange)

    assert (refused["error"]["type"], refused["end"]) == (kind, True)
    assert served == {"id": 7, "said": 1, "end": True}


async def test_unknown_verb_is_answered_with_the_nearest_one(control):
    ((reply,),) = await in_thread(lambda: ask(control, {"verb": "ecko"}))

    assert (reply["exit"], reply["error"]["hint"]) == (2, "Did you mean 'echo'?")


async def test_error_of_the_answerer_is_told_to_the_client_and_the_owner(control, desk):
    (failed,), (refused,), (after,) = await in_thread(
        lambda: ask(control, {"verb": "fail"}, {"verb": "refuse"}, {"verb": "echo"})
    )

    assert "RuntimeError: planted" in failed["error"]["message"]
    assert [str(fault) for fault in desk.faults] == ["planted"]
    assert refused["error"] == {"type": "ToolError", "message": "no", "hint": "never"}
    assert after["end"]


async def test_answering_stops_when_its_client_goes(control, desk):
    def ask_and_go():
        with raw(control) as connected:
            connected.sendall(b'{"id": 1, "verb": "hang"}\n')
            read_lines(connected, 1)

    await in_thread(ask_and_go)

    await asyncio.wait_for(desk.cancelled.wait(), 5)
    closed = asyncio.Event()
    desk.clients[0].on_close(closed.set)
    assert closed.is_set()
    assert not desk.clients[0].send({"id": 1, "end": True})


async def test_id_of_an_open_request_cannot_be_used_again(control):
    def exchange():
        with raw(control) as connected:
            connected.sendall(b'{"id": 1, "verb": "hang"}\n{"id": 1, "verb": "echo"}\n')
            return read_lines(connected, 2)[1]

    assert "still open" in (await in_thread(exchange))["error"]["message"]


def mutated(seed: random.Random) -> bytes:
    """A request with something wrong about it."""
    line = bytearray(b'{"id":1,"verb":"echo","say":{"a":[1,2.5,"text",null,true]}}\n')
    for _ in range(seed.randrange(1, 6)):
        at = seed.randrange(len(line))
        match seed.randrange(5):
            case 0:
                line[at] = seed.randrange(256)
            case 1:
                del line[at : at + seed.randrange(1, 20)]
                line += b"\n"
            case 2:
                line[at:at] = seed.choice(
                    [b"\n", b"\0", b'"', b"{" * 100, b"1" * 5000, b"NaN", b"\xf0\x9f", b"\\ud800"]
                )
            case 3:
                line[at:at] = line[: seed.randrange(len(line))]
            case _:
                line[at:at] = seed.randbytes(seed.randrange(200))
    return bytes(line)


@pytest.mark.parametrize("seed", range(4))
async def test_no_bytes_stall_or_end_the_server(control, desk, seed):
    chance = random.Random(seed)

    def storm():
        for _ in range(75):
            with raw(control) as connected:
                connected.settimeout(5)
                try:
                    for _ in range(chance.randrange(1, 8)):
                        connected.sendall(mutated(chance))
                    if chance.random() < 0.5:
                        connected.shutdown(socket.SHUT_WR)
                        connected.makefile("rb").read()
                except (BrokenPipeError, ConnectionResetError):
                    pass

    await in_thread(storm)

    assert await in_thread(lambda: echoed(control))
    assert desk.faults == []
