"""What a Kafka url says: where the brokers are, how to log in, and how topics are made.

    kafka://user:password@host:9092,host2:9092/?partitions=12&replication=3

"kafkas://" speaks TLS; `cafile`, `certfile` and `keyfile` name files in PEM. A user logs in by `mechanism`: PLAIN,
SCRAM-SHA-256 or SCRAM-SHA-512. `group_protocol` is "consumer" (KIP-848) or "classic"; without it the first that the broker
has. `partitions`, `inbox_partitions` and `replication` are what topics are made with. Everything else that librdkafka can be told is decided here, once, for all clients.

Connects to nothing.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from microlith.transports.errors import TransportUrlError, UnknownOptionError

DEFAULT_PORT = 9092
PARTITIONS = 8
"""Of a topic that is made, unless the url says otherwise: as many processes can share the work of one component."""

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_NUMBERS = ("partitions", "inbox_partitions", "replication")
_FILES = {"cafile": "ssl.ca.location", "certfile": "ssl.certificate.location", "keyfile": "ssl.key.location"}
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_PROTOCOLS = ("consumer", "classic")
_OPTIONS = (*_NUMBERS, *_FILES, "mechanism", "group_protocol")

_CONNECTION: Mapping[str, str | int | bool] = {
    # A connection that has died without a word is noticed when an answer is this late.
    "socket.timeout.ms": 3000,
    "socket.connection.setup.timeout.ms": 3000,
    "socket.keepalive.enable": True,
    "socket.nagle.disable": True,
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 500,
    "allow.auto.create.topics": False,
}


class Settings(NamedTuple):
    """What one url says.

    Attributes:
        broker: The url without user, password and options.
        connection: What every client of librdkafka is told.
        partitions: Partitions of each topic; None where whoever made a topic decides.
        inbox_partitions: Partitions of the topic of inboxes; None as above.
        replication: Copies of each partition; None for the broker's own default.
        group_protocol: How a group shares partitions: "consumer" (KIP-848), "classic", or None: the first that the broker has.
    """

    broker: str
    connection: Mapping[str, str | int | bool]
    partitions: int | None = None
    inbox_partitions: int | None = None
    replication: int | None = None
    group_protocol: str | None = None


def read_url(url: str) -> Settings:
    """Read a url.

    Raises:
        TransportUrlError: It means nothing.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise TransportUrlError(url, str(error)) from None
    login, _, places = parts.netloc.rpartition("@")
    hosts = _hosts(url, places)
    if parts.path not in ("", "/"):
        raise TransportUrlError(url, f"nothing may follow the hosts but options, not {parts.path!r}")
    options = _options(url, parts.query)
    numbers = {name: _number(url, name, options[name]) for name in _NUMBERS if name in options}
    protocol = options.get("group_protocol")
    if protocol not in (None, *_PROTOCOLS):
        raise TransportUrlError(url, f"group_protocol is {protocol!r}, not one of {', '.join(_PROTOCOLS)}")
    user, _, password = (unquote(part) for part in login.partition(":"))
    return Settings(
        f"{parts.scheme}://{','.join(hosts)}",
        {
            **_CONNECTION,
            "bootstrap.servers": ",".join(hosts),
            **_security(url, parts.scheme == "kafkas", user, password, options),
        },
        group_protocol=protocol,
        **numbers,
    )


def _hosts(url: str, places: str) -> list[str]:
    hosts = []
    for place in places.split(","):
        found = _HOST.fullmatch(place)
        if found is None:
            raise TransportUrlError(url, f"{place!r} is not a host" if place else "the host is missing")
        port = int(found["port"] or DEFAULT_PORT)
        if not 0 < port < 65536:
            raise TransportUrlError(url, f"{port} is not a port")
        hosts.append(f"{found['name']}:{port}")
    return hosts


def _options(url: str, query: str) -> dict[str, str]:
    options = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _OPTIONS:
            raise UnknownOptionError(url, name, _OPTIONS)
        if not value:
            raise TransportUrlError(url, f"the option {name!r} has no value")
        options[name] = value
    return options


def _number(url: str, name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and 0 < int(value) < 2**15):
        raise TransportUrlError(url, f"{name} is {value!r}, not a number from 1 on")
    return int(value)


def _security(url: str, tls: bool, user: str, password: str, options: Mapping[str, str]) -> dict[str, str]:
    files = {setting: options[name] for name, setting in _FILES.items() if name in options}
    if files and not tls:
        raise TransportUrlError(url, f"{next(name for name in _FILES if name in options)!r} is for kafkas:")
    if "keyfile" in options and "certfile" not in options:
        raise TransportUrlError(url, "there is a keyfile and no certfile")
    mechanism = options.get("mechanism", _MECHANISMS[0])
    if mechanism not in _MECHANISMS:
        raise TransportUrlError(url, f"mechanism is {mechanism!r}, not one of {', '.join(_MECHANISMS)}")
    if not user:
        if "mechanism" in options or password:
            raise TransportUrlError(url, "the user is missing")
        return {"security.protocol": "SSL" if tls else "PLAINTEXT", **files}
    return {
        "security.protocol": "SASL_SSL" if tls else "SASL_PLAINTEXT",
        "sasl.mechanism": mechanism,
        "sasl.username": user,
        "sasl.password": password,
        **files,
    }
