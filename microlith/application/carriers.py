"""Carriers: which transport carries which message types, as the configuration says.

    {"command": "rabbitmq://127.0.0.1/", "event": "kafka://127.0.0.1:9092", "types.LoginCommand": "memory:"}

A type that is named goes by its own url; others by that of their bus; "memory:" keeps them in the process.
A url may name environment variables, so that no secret need stand where it is written: "rabbitmq://shop:${PASSWORD}@host/".

Connects to nothing; see `connecting`.
"""

import os
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from microlith.errors import MicrolithError, WiringError, nearest
from microlith.serialization import MessageType, MessageTypes
from microlith.transports import IN_PROCESS
from microlith.urls import masked

BUSES = ("command", "query", "event")
_TYPE = "types."
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_LOGIN = re.compile(r"\w+://[^/]*@")


class CarrierError(WiringError):
    """The configuration of the buses names what is not there."""


class Carriers:
    """Which transport carries which message types of one application.

    Attributes:
        urls: The urls of all transports, each once.
        names: What each of them is known by in the store, by its url: where the broker is, without login and options.
        places: What carries each bus and each type that the configuration names, without login and options.
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
        self.names = _named_apart(self.urls)
        self.places = {bus: self.names.get(url, url) for bus, url in buses.items()}
        self.inbox = self.urls[0] if self.urls else None

    def of(self, entry: MessageType) -> str | None:
        """Return the url of what carries a type; None when it stays in the process."""
        bus = "query" if entry.kind == "response" else entry.kind
        url = self._of_type.get(entry.cls) or self._of_bus.get(bus, IN_PROCESS)
        return None if url == IN_PROCESS else url

    def is_named(self, entry: MessageType) -> bool:
        """Tell whether the configuration names this very type: then it may be handled outside this code."""
        return entry.cls in self._of_type


class UnsetVariableError(WiringError):
    """The url of a bus, or of the store, names an environment variable that is not set."""

    def __init__(self, bus: str, name: str) -> None:
        super().__init__(
            f"The url of {bus!r} names {name}, which the environment does not have.",
            hint=f"Set {name}; its value is taken as it is, and nothing of it need be escaped.",
        )
        self.name = name


def from_environment(buses: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return a configuration with what the environment says instead: MICROLITH_COMMAND_BUS and so on."""
    set_there = {bus: environ[name] for bus in BUSES if environ.get(name := f"MICROLITH_{bus.upper()}_BUS")}
    return {**buses, **set_there}


def filled_in(buses: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return a configuration with the values of the environment variables that its urls name, as ${NAME}.

    What stands for a user or a password is escaped, as urls need it.

    Raises:
        UnsetVariableError: One is not set, or empty.
    """
    return {bus: filled_url(bus, url, environ) for bus, url in buses.items()}


def filled_url(of: str, url: str, environ: Mapping[str, str] = os.environ, *, options: bool = False) -> str:
    """Return the url of a bus, or of the store, with the values of the environment variables that it names, as ${NAME}.

    Args:
        of: What it is the url of, for the error.
        url: The url.
        environ: The environment.
        options: Escape what stands among its options, too, so that a password may stand there.

    Raises:
        UnsetVariableError: One is not set, or empty.
    """

    def value(match: re.Match[str]) -> str:
        if not (found := environ.get(match[1])):
            raise UnsetVariableError(of, match[1])
        return found

    def escaped(match: re.Match[str]) -> str:
        return quote(value(match), safe="")

    login = _LOGIN.match(url)
    end = login.end() if login else 0
    place, question, rest = url[end:].partition("?")
    return (
        _VARIABLE.sub(escaped, url[:end])
        + _VARIABLE.sub(value, place)
        + question
        + _VARIABLE.sub(escaped if options else value, rest)
    )


def _named_apart(urls: Sequence[str]) -> dict[str, str]:
    """Name each url so that its name stays when others are added, or its password changes; no two share one."""
    places = {
        url: _LOGIN.sub(lambda login: f"{login[0].partition('://')[0]}://", url).partition("?")[0] for url in urls
    }
    names: dict[str, str] = {}
    for url, place in places.items():
        name = place if list(places.values()).count(place) == 1 else masked(url)
        while name in names.values():
            name += "'"
        names[url] = name
    return names


def _named(buses: Mapping[str, str], types: MessageTypes) -> list[tuple[type, str]]:
    found = []
    for key, url in buses.items():
        if key.startswith(_TYPE):
            try:
                found.append((types.find(key.removeprefix(_TYPE)).cls, url))
            except MicrolithError as error:
                raise CarrierError(f"The buses are told what carries {key!r}: {error}", hint=error.hint) from error
        elif key not in BUSES:
            close = nearest(key, BUSES)
            raise CarrierError(
                f"There is no bus {key!r}.",
                hint=f"Did you mean {close!r}?" if close else f"The buses are {', '.join(BUSES)}; or types.NAME.",
            )
    return found
