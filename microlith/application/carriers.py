"""Carriers: which transport carries which message types, as the configuration says.

    {"command": "rabbitmq://127.0.0.1/", "event": "kafka://127.0.0.1:9092", "types.LoginCommand": "memory:"}

A type that is named goes by its own url; others by that of their bus; "memory:" keeps them in the process.

Connects to nothing; see `connecting`.
"""

import os
from collections.abc import Mapping

from microlith.errors import WiringError, nearest
from microlith.serialization import MessageType, MessageTypes
from microlith.transports import IN_PROCESS

BUSES = ("command", "query", "event")
_TYPE = "types."


class CarrierError(WiringError):
    """The configuration of the buses names what is not there."""


class Carriers:
    """Which transport carries which message types of one application.

    Attributes:
        urls: The urls of all transports, each once.
        inbox: Url of the transport that processes hear each other by; None when there is none.
    """

    def __init__(self, buses: Mapping[str, str], types: MessageTypes) -> None:
        """Check a configuration.

        Raises:
            CarrierError: It names a bus or a type that is not there.
        """
        self._of_bus = {bus: buses[bus] for bus in BUSES if bus in buses}
        self._of_type = dict(_named(buses, types))
        used = [*self._of_bus.values(), *self._of_type.values()]
        self.urls = list(dict.fromkeys(url for url in used if url != IN_PROCESS))
        self.inbox = self.urls[0] if self.urls else None

    def of(self, entry: MessageType) -> str | None:
        """Return the url of what carries a type; None when it stays in the process."""
        bus = "query" if entry.kind == "response" else entry.kind
        url = self._of_type.get(entry.cls) or self._of_bus.get(bus, IN_PROCESS)
        return None if url == IN_PROCESS else url

    def is_named(self, entry: MessageType) -> bool:
        """Tell whether the configuration names this very type: then it may be handled outside this code."""
        return entry.cls in self._of_type


def from_environment(buses: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return a configuration with what the environment says instead: MICROLITH_COMMAND_BUS and so on."""
    set_there = {bus: environ[name] for bus in BUSES if environ.get(name := f"MICROLITH_{bus.upper()}_BUS")}
    return {**buses, **set_there}


def _named(buses: Mapping[str, str], types: MessageTypes) -> list[tuple[type, str]]:
    found = []
    for key, url in buses.items():
        if key.startswith(_TYPE):
            found.append((types.find(key.removeprefix(_TYPE)).cls, url))
        elif key not in BUSES:
            close = nearest(key, BUSES)
            raise CarrierError(
                f"There is no bus {key!r}.",
                hint=f"Did you mean {close!r}?" if close else f"The buses are {', '.join(BUSES)}; or types.NAME.",
            )
    return found
