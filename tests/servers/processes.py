"""What Linux tells of processes: which are alive, whose children they are, where they listen."""

import ipaddress
import os
import signal
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
_LISTENING = "0A"  # the state of a socket in /proc/net/tcp


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    state = _status(pid)
    return state is not None and state[0] not in "ZX"


def with_descendants(pids: Collection[int]) -> set[int]:
    """These processes, their children, the children of those, and so on."""
    parents = {int(folder.name): state[1] for folder in PROC.glob("[0-9]*") if (state := _status(int(folder.name)))}
    found = set(pids)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def kill(pids: Collection[int]) -> None:
    """End these processes and their descendants with SIGKILL, and return once none is alive."""
    _signal(pids, signal.SIGSTOP)  # or they could have another child after a look at their children
    doomed = with_descendants(pids)
    _signal(doomed, signal.SIGKILL)
    wait_until_gone(doomed)


def wait_until_gone(pids: Collection[int], *, seconds: float = 15) -> None:
    """Return once none of these processes is alive.

    Raises:
        TimeoutError: Some still are.
    """
    deadline = time.monotonic() + seconds
    while alive := {pid for pid in pids if is_alive(pid)}:
        if time.monotonic() > deadline:
            raise TimeoutError(f"Still alive after {seconds:g} s: {sorted(alive)}.")
        time.sleep(0.01)


def listening(pids: Collection[int]) -> set[tuple[str, int]]:
    """The addresses and ports at which these processes take TCP connections."""
    inodes = {inode for pid in pids for inode in _sockets(pid)}
    return {(address, port) for address, port, inode in _listeners() if inode in inodes}


def _signal(pids: Collection[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _status(pid: int) -> tuple[str, int] | None:
    """The state of a process as a letter, and its parent; none if it is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text("utf-8", errors="replace")
    except OSError:
        return None
    state, parent = text.rpartition(")")[2].split()[:2]  # the name before it may have spaces and parentheses
    return state, int(parent)


def _sockets(pid: int) -> Iterator[str]:
    try:
        descriptors = list((PROC / str(pid) / "fd").iterdir())
    except OSError:
        return
    for descriptor in descriptors:
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            yield target.removeprefix("socket:[").removesuffix("]")


def _listeners() -> Iterator[tuple[str, int, str]]:
    for table in ("tcp", "tcp6"):
        for line in (PROC / "net" / table).read_text("ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING:
                address, _, port = fields[1].partition(":")
                yield _address(address), int(port, 16), fields[9]


def _address(text: str) -> str:
    """An address as people write it; the kernel shows it in words of 32 bits, in the order of the machine."""
    words = [int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(words))
    return str(getattr(address, "ipv4_mapped", None) or address)
