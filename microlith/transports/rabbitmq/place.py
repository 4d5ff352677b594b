"""Where a broker is, from its url: `rabbitmq://user:password@host:port/vhost?heartbeat=10&shared=yes`.

`rabbitmqs://` speaks TLS; `cafile`, `certfile` and `keyfile` name files in PEM. The password is in `amqp` and nowhere else.
"""

import ssl
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from microlith.transports.errors import TransportUrlError, UnknownOptionError

HEARTBEAT = 10
"""Seconds, unless the url says otherwise: RabbitMQ's own advice is 5 to 20."""
_FILES = ("cafile", "certfile", "keyfile")
_OPTIONS = ("heartbeat", "shared", *_FILES)
_HINT = "In user and password, write % and two hexadecimal digits for signs that have a meaning in a url, such as %2F for /."
_PORTS = {"rabbitmq": 5672, "rabbitmqs": 5671}


class Place(NamedTuple):
    """Where a broker is.

    Attributes:
        amqp: Its url as the library takes it, with the password.
        shown: The same for people, without user and password.
        heartbeat: After how many seconds of silence each side sends a sign of life. A connection that brings nothing for
            a little more than twice as long is lost.
        shared: Whether several processes of a component take its commands side by side.
        files: Names of `cafile`, `certfile` and `keyfile`, where given; None for a connection without TLS.
    """

    amqp: str
    shown: str
    heartbeat: int
    shared: bool
    files: dict[str, str] | None

    def security(self) -> ssl.SSLContext | None:
        """Make what TLS needs, from its files; the broker has to prove who it is.

        Raises:
            OSError: A file cannot be read, or is not what it should be.
        """
        if self.files is None:
            return None
        for name, file in self.files.items():
            if not Path(file).is_file():
                raise FileNotFoundError(f"the {name} {file!r} is not there")
        context = ssl.create_default_context(cafile=self.files.get("cafile"))
        if "certfile" in self.files:
            context.load_cert_chain(self.files["certfile"], self.files.get("keyfile"))
        return context


def place_of(url: str) -> Place:
    """Read a url.

    Raises:
        TransportUrlError: It means nothing.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # its text quotes what may be part of a password
        raise TransportUrlError(url, "its host or port cannot be read", hint=_HINT) from None
    if not host:
        raise TransportUrlError(url, "the host is missing")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS:
            raise UnknownOptionError(url, name, _OPTIONS)
    secured = parts.scheme == "rabbitmqs"
    files = {name: options[name] for name in _FILES if name in options}
    if files and not secured:
        raise TransportUrlError(url, f"{next(iter(files))!r} is for rabbitmqs:")
    if "keyfile" in files and "certfile" not in files:
        raise TransportUrlError(url, "there is a keyfile and no certfile")
    heartbeat = _heartbeat(url, options.get("heartbeat", str(HEARTBEAT)))
    shared = options.get("shared", "no")
    if shared not in ("yes", "no"):
        raise TransportUrlError(url, f"shared is yes or no, not {shared!r}")
    vhost = quote(unquote(parts.path[1:]), safe="")
    login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    at = f"[{host}]" if ":" in host else host
    at = f"{at}:{port or _PORTS[parts.scheme]}/{vhost}"
    amqp = f"{'amqps' if secured else 'amqp'}://{login}{at}?heartbeat={heartbeat}"
    return Place(amqp, f"{parts.scheme}://{at}", heartbeat, shared == "yes", files if secured else None)


def _heartbeat(url: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 600:
        raise TransportUrlError(url, f"the heartbeat {text!r} is no number of seconds from 1 to 600")
    return int(text)
