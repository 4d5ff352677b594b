"""Clients that mean no good, and places that others prepared: `run` serves on, and handlers never notice."""

import json
import multiprocessing
import os
import random
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from microlith_cli.control import address
from tests.acceptance.cli.shop import Tool
from tests.acceptance.live_project import Sender, live, until

pytestmark = pytest.mark.timeout(180)

PROCESSES = multiprocessing.get_context("spawn")
SECONDS = 3.0
"""How long the attack lasts."""
GROWTH = 64 << 20
"""Bytes that all of it may cost: several clients that never read, at 1 MiB each, and what an interpreter keeps."""


def connected(root: Path) -> socket.socket:
    found = address.connect(root / ".microlith", 5)
    if found is None:
        raise ConnectionRefusedError
    found.settimeout(1)
    return found


def malformed(client: socket.socket, chance: random.Random) -> None:
    line = bytearray(b'{"id":1,"verb":"dispatch","type":"Say","data":{"number":-5}}\n')
    for _ in range(chance.randrange(1, 6)):
        line[chance.randrange(len(line))] = chance.randrange(256)
    client.sendall(bytes(line) + b"\n")


def huge(client: socket.socket, chance: random.Random) -> None:
    del chance
    client.sendall(b'{"id":1,"verb":"dispatch","type":"Say","data":{"number":"')
    for _ in range(20):
        client.sendall(b"1" * (64 << 10))


def deep(client: socket.socket, chance: random.Random) -> None:
    opener = chance.choice([b"[", b'{"a":'])
    client.sendall(b'{"id":1,"verb":"dispatch","type":"Say","data":' + opener * 50_000 + b"\n")


def slow(client: socket.socket, chance: random.Random) -> None:
    for byte in b'{"id":1,"ve':
        client.sendall(bytes([byte]))
        time.sleep(chance.random() / 20)


def deaf(client: socket.socket, chance: random.Random) -> None:
    """Follow all there is, ask much, and read nothing of it."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.sendall(b'{"id":"f","verb":"follow","filter":""}\n')
    for number in range(300):
        client.sendall(json.dumps({"id": number, "verb": "list"}).encode() + b"\n")
    time.sleep(chance.random() / 2)


def greedy(client: socket.socket, chance: random.Random) -> None:
    """Ask for more at a time than one client may, and go."""
    del chance
    for number in range(100):
        request = {"id": number, "verb": "follow", "filter": "status:failed took:>1ms"}
        client.sendall(json.dumps(request).encode() + b"\n")


ATTACKS: dict[str, Callable[[socket.socket, random.Random], None]] = {
    attack.__name__: attack for attack in (malformed, huge, deep, slow, deaf, greedy)
}


def attack(root: Path, how: str, seed: int) -> None:
    """Attack for a while; whatever becomes of these clients is as it should be."""
    chance, end = random.Random(seed), time.monotonic() + SECONDS
    while time.monotonic() < end:
        with suppress(OSError), connected(root) as client:
            ATTACKS[how](client, chance)


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def queued_ms(root: Path) -> list[float]:
    """How long each Say waited for its handler, as the trace log tells it."""
    lines = (root / ".microlith" / "trace.jsonl").read_text("utf-8").splitlines()
    facts = [json.loads(line)["data"] for line in lines if '"microlith.handled"' in line]
    return [fact["queued_ms"] for fact in facts if fact["message"] == "Say"]


def test_hostile_clients_stall_no_handler_and_end_nothing(project):
    with live(project, "--quiet") as running:
        before = running.serving()
        memory = resident(running.process.pid)
        sender = Sender(running)
        sender.start()
        # In processes of their own, so that they keep nobody waiting but those they attack.
        attackers = [PROCESSES.Process(target=attack, args=(project, how, seed)) for seed, how in enumerate(ATTACKS)]
        for attacker in attackers:
            attacker.start()
        for attacker in attackers:
            attacker.join(60)
        accepted = sender.finish()
        until(
            lambda: running.ask("status")[-1]["status"]["followers"] == 0, "clients that have gone are still followed"
        )

        after = running.ask("status")[-1]["status"]
        assert (after["worker_pid"], after["generation"]) == (before["worker_pid"], 1)
        assert [attacker.exitcode for attacker in attackers] == [0] * len(ATTACKS)
        assert (sender.refused, accepted > 20) == ([], True)
        until(lambda: running.totals() == (accepted, accepted), "an accepted message was not handled once")
        assert resident(running.process.pid) - memory < GROWTH
        until(lambda: len(queued_ms(project)) >= accepted, "the trace log does not tell of every message")
        waited = sorted(queued_ms(project))
        assert waited[len(waited) // 2] < 50
    assert "Traceback" not in running.everything()


@pytest.mark.parametrize("how", ATTACKS)
def test_honest_client_is_let_in_and_answered_during_an_attack(project, how):
    with live(project, "--quiet") as running:
        running.serving()
        attackers = [PROCESSES.Process(target=attack, args=(project, how, seed)) for seed in range(2)]
        for attacker in attackers:
            attacker.start()
        answered = 0
        while any(attacker.is_alive() for attacker in attackers):
            assert running.dispatch("Say", {"number": 1}, wait=["SaidEvent"], timeout=20)[-1]["exit"] == 0
            answered += 1
        for attacker in attackers:
            attacker.join()

        assert answered > 5


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_nobody_else_comes_near_whatever_the_umask(project, umask):
    process = subprocess.Popen(
        [sys.executable, "-m", "microlith_cli", "run", "--once"],
        cwd=project,
        umask=umask,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    seen: dict[str, set[int]] = {}
    state = project / ".microlith"
    try:
        while process.poll() is None:
            for path in (state, state / address.SOCKET, state / "control.lock"):
                with suppress(FileNotFoundError):
                    seen.setdefault(path.name, set()).add(stat.S_IMODE(path.lstat().st_mode))
            time.sleep(0.002)
    finally:
        process.kill()
        _, said = process.communicate()

    assert process.returncode == 0, said
    assert seen[".microlith"] == {0o700}
    assert seen[address.SOCKET] == {0o600}
    assert {mode & 0o077 for mode in seen["control.lock"]} == {0}


def test_folder_that_is_a_link_is_refused_by_all_and_nothing_is_written_behind_it(project, tmp_path):
    behind = tmp_path / "behind"
    behind.mkdir(mode=0o700)
    (project / ".microlith").symlink_to(behind, target_is_directory=True)
    tool = Tool(project)

    for command in (
        ("run",),
        ("run", "--once"),
        ("dispatch", "Say", "--number", "1"),
        ("dispatch", "Say", "--number", "1", "--attach"),
        ("list",),
        ("shell",),
        ("doctor",),
    ):
        ended = tool(*command)
        assert ended.code != 0, command
        assert "is a link or a file; it must be a directory" in ended.out + ended.err, command
        assert "Traceback" not in ended.err
    assert list(behind.iterdir()) == []
