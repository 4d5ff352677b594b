import json
import os
import socket
import subprocess
import sys

import pytest

from microlith_cli.control import address
from microlith_cli.control.client import attach
from microlith_cli.errors import (
    AlreadyRunningError,
    ConnectionLostError,
)
from tests.unit.cli.control.channel import echoed, in_thread, made


async def test_user_of_another_id_is_turned_away(control, monkeypatch):
    monkeypatch.setattr(address, "peer_user", lambda connected: 12345)

    def exchange():
        plain = socket.socket(socket.AF_UNIX)
        with plain:
            plain.connect(os.fspath(control.directory / address.SOCKET))
            return plain.makefile("rb").readlines()

    (line,) = await in_thread(exchange)

    assert "User 12345 may not" in json.loads(line)["error"]["message"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
async def test_somebody_else_is_turned_away_even_when_every_door_is_open(control, tmp_path):
    for path in (*tmp_path.parents, tmp_path, control.directory):
        if path.stat().st_uid == os.getuid() and path != path.parent:
            path.chmod(path.stat().st_mode | 0o711)
    (control.directory / address.SOCKET).chmod(0o666)
    script = "import os, socket, sys; os.setuid(12345); s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(s.makefile('r').read())"

    ended = await in_thread(
        lambda: subprocess.run(
            [sys.executable, "-I", "-c", script, os.fspath(control.directory / address.SOCKET)],
            capture_output=True,
            text=True,
            check=False,
        )
    )

    assert "User 12345 may not use the microlith of user 0." in ended.stdout, ended.stderr
    assert '"hello"' not in ended.stdout


async def test_second_server_of_a_project_is_refused_and_touches_nothing(control, tmp_path, desk):
    before = {path.name: path.stat().st_mtime_ns for path in control.directory.iterdir()}

    with pytest.raises(AlreadyRunningError, match=f"process {os.getpid()}"):
        await made(control.directory, desk).start()

    assert {path.name: path.stat().st_mtime_ns for path in control.directory.iterdir()} == before
    assert await in_thread(lambda: echoed(control))


async def test_server_says_goodbye_and_can_start_again(tmp_path, desk):
    started = made(tmp_path / ".microlith", desk)
    await started.start()
    session = await in_thread(lambda: attach(started.directory))

    await started.stop()
    await started.stop()

    with pytest.raises(ConnectionLostError):
        await in_thread(lambda: list(session.request({"verb": "echo"}, patience=5)))
    session.close()
    assert attach(started.directory) is None
    again = made(tmp_path / ".microlith", desk)
    await again.start()
    assert await in_thread(lambda: echoed(again))
    await again.stop()


HOLDER = """
import asyncio, sys
from pathlib import Path
from microlith_cli.control.server import ControlServer
from microlith_cli.errors import AlreadyRunningError

async def handle(client, request): pass
async def hold():
    server = ControlServer(Path(sys.argv[1]), hello=dict, verbs=(), handle=handle, on_fault=print)
    try:
        await server.start()
    except AlreadyRunningError:
        print("refused", flush=True)
        return
    print("owner", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()
asyncio.run(hold())
"""


def said_by(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_of_many_servers_that_start_together_one_owns_the_project(tmp_path):
    command = [sys.executable, "-c", HOLDER, tmp_path / ".microlith"]
    racing = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(8)]

    said = [said_by(process) for process in racing]
    for process in racing:
        process.communicate("", timeout=20)

    assert sorted(said) == ["owner", *["refused"] * 7]


def test_lock_of_a_killed_server_is_free(tmp_path):
    command = [sys.executable, "-c", HOLDER, tmp_path / ".microlith"]
    for _ in range(2):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert said_by(process) == "owner"
        process.kill()
        process.communicate(timeout=20)
