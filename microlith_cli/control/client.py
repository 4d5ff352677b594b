"""The asking end of the control channel: one blocking connection, standard library only.

A client of a running microlith is a short-lived process; what it must not do is import much or hang.
Every wait here has an end.

Knows the form of requests and replies, and no verb's meaning.
"""

import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from microlith_cli.control import address
from microlith_cli.control.lines import PROTOCOL, encode
from microlith_cli.errors import (
    ConnectionLostError,
    NoAnswerError,
    NothingRunsError,
    UnsafeDirectoryError,
    WrongProtocolError,
)

HELLO_SECONDS = 5.0
SEND_SECONDS = 10.0
MAX_REPLY = 64 << 20  # bytes; a catalog is the longest line there is


class RemoteSession:
    """A connection to a running microlith.

    Attributes:
        hello: What it said first: `app`, `version`, `pid`, `generation`, `components`.
    """

    mode = "attached"

    def __init__(self, connected: socket.socket, *, hello_seconds: float = HELLO_SECONDS) -> None:
        self._socket = connected
        self._unread = bytearray()
        self._last = 0
        self.hello = self._greeting(hello_seconds)

    def fileno(self) -> int:
        """The descriptor that can be read when something has come; -1 once it is closed."""
        return self._socket.fileno()

    @property
    def has_line(self) -> bool:
        """Whether a reply has come already, as a whole."""
        return b"\n" in self._unread

    def request(self, request: Mapping[str, Any], *, patience: float | None = None) -> Iterator[dict[str, Any]]:
        """Ask, and yield every reply as it comes; the last has `end`.

        Args:
            request: The verb and its arguments; the id is added here.
            patience: Longest silence between two replies, in seconds; None: as long as it takes.

        Raises:
            NoAnswerError: It was silent for longer.
            ConnectionLostError: It went away.
        """
        return self._replies(self.send(request), patience)

    def requests(
        self, requests: Iterable[Mapping[str, Any]], *, at_once: int, patience: float | None = None
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Ask many things, some at a time; yield every reply with the number of its request, from 0.

        Raises:
            NoAnswerError: It was silent for longer than `patience`, in seconds.
            ConnectionLostError: It went away.
        """
        waiting = enumerate(requests)
        under_way: dict[int, int] = {}

        def send(count: int) -> None:
            for number, request in islice(waiting, count):
                under_way[self.send(request)] = number

        send(at_once)
        while under_way:
            reply = self.receive(patience)
            number = under_way.get(reply.get("id", 0))
            if number is None:
                continue
            if reply.get("end"):
                del under_way[reply["id"]]
            yield number, reply
            send(at_once - len(under_way))

    def close(self) -> None:
        """Hang up; the other end stops what it did for this session alone. Safe to call twice, and from another thread."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes whoever reads
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def receive(self, patience: float | None = None) -> dict[str, Any]:
        """Wait for the next reply, whatever it answers.

        Raises:
            NoAnswerError: None came within `patience`, in seconds.
            ConnectionLostError: It went away.
        """
        return self._read(patience, "The running microlith said nothing")

    def send(self, request: Mapping[str, Any]) -> int:
        """Send one request; returns its id."""
        self._last += 1
        try:
            self._socket.settimeout(SEND_SECONDS)
            self._socket.sendall(encode({"id": self._last, **request}))
        except TimeoutError as error:
            raise NoAnswerError("The running microlith did not take the request", SEND_SECONDS) from error
        except OSError as error:
            raise ConnectionLostError from error
        return self._last

    def _replies(self, number: int, patience: float | None) -> Iterator[dict[str, Any]]:
        ended = False
        while not ended:
            reply = self.receive(patience)
            if reply.get("id") in {number, None}:
                ended = bool(reply.get("end"))
                yield reply

    def _greeting(self, seconds: float) -> dict[str, Any]:
        hello = self._read(seconds, "Something listens here, and did not say hello")
        if hello.get("hello") != "microlith" or hello.get("protocol") != PROTOCOL:
            error = hello.get("error")
            if isinstance(error, dict):
                raise NothingRunsError(str(error.get("message")), hint=str(error.get("hint") or ""))
            raise WrongProtocolError(json.dumps(hello)[:200])
        return hello

    def _read(self, seconds: float | None, what: str) -> dict[str, Any]:
        self._socket.settimeout(seconds)
        searched = 0
        while (end := self._unread.find(b"\n", searched)) < 0:
            searched = len(self._unread)
            if searched > MAX_REPLY:
                raise WrongProtocolError(f"a line of more than {MAX_REPLY} bytes")
            try:
                received = self._socket.recv(1 << 16)
            except TimeoutError as error:
                raise NoAnswerError(what, seconds or 0) from error
            except OSError as error:
                raise ConnectionLostError from error
            if not received:
                raise ConnectionLostError
            self._unread += received
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        try:
            reply = json.loads(line)
        except ValueError as error:
            raise WrongProtocolError(ascii(line[:200])) from error
        if not isinstance(reply, dict):
            raise WrongProtocolError(ascii(line[:200]))
        return reply


def runs_at(directory: Path) -> bool:
    """Tell whether a microlith runs for a project there, whatever it does and whether or not it answers."""
    try:
        connected = address.connect(directory, HELLO_SECONDS)
    except (TimeoutError, BlockingIOError, UnsafeDirectoryError):
        return True
    if connected is not None:
        connected.close()
    return connected is not None


def attach(directory: Path) -> RemoteSession | None:
    """Connect to the microlith that runs for a project; None when none does.

    Args:
        directory: The project's `.microlith`.

    Raises:
        UnsafeDirectoryError: The directory, or whoever listens there, is not this user's.
        NothingRunsError: Something listens there that does not answer, or does not speak as we do.
    """
    try:
        connected = address.connect(directory, HELLO_SECONDS)
    except (TimeoutError, BlockingIOError) as error:
        raise NoAnswerError(f"Nothing took the connection in {os.fspath(directory)}", HELLO_SECONDS) from error
    if connected is None:
        return None
    try:
        return RemoteSession(connected)
    except BaseException:
        connected.close()
        raise
