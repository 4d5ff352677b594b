"""Free ports on loopback that stay free while their server is away.

The kernel gives ports of its own range to outgoing connections. A server that is killed could lose such a port to any
client; a client that tries to reconnect to it could even be connected to itself. So these ports lie below that range.
"""

import random
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"

_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST = 20_000
_LAST = 32_768


def free_ports(count: int) -> list[int]:
    """Choose ports on which nobody listens, all different."""
    chosen: list[int] = []
    while len(chosen) < count:
        port = _chance.randrange(_FIRST, _end())
        if port not in chosen and _is_free(port):
            chosen.append(port)
    return chosen


# Not the generator that a test seeds: two runs with one seed would choose the same ports.
_chance = random.SystemRandom()


def _end() -> int:
    lowest = int(_OUTGOING.read_text("ascii").split()[0]) if _OUTGOING.exists() else _LAST
    return lowest if lowest > _FIRST else _LAST


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
