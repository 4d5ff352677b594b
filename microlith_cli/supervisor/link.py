"""The link between supervisor and worker: JSON objects, one a line, over a socket pair.

Requests and replies have the form of the control channel. Besides, each side tells where it stands:

    worker to supervisor                      supervisor to worker
    {"warm": protocol}                        {"tell": "load"}
    {"ready": {...}} or {"failed": ERROR}     {"tell": "serve", "generation": 3}
    {"serving": {...}} or {"failed": ERROR}   {"id": "7.1", "verb": ...}, {"tell": "cancel", "id": "7.1"}
    {"facts": [...]}, {"id": "7.1", ...}      {"tell": "stop", "drain": 10.0, "queues": true}
    {"leads": true}
    {"stopped": {"abandoned": 0}}

A reply {"id": ..., "again": true} means: this worker stops, ask its successor.

Knows no verbs. Both ends are ours, so what arrives is taken as it is.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Self

from microlith_cli.control.lines import encode

PROTOCOL = 1
_READ_AHEAD = 1 << 20
"""Bytes that are read before they are asked for; a line may be longer."""
_FACTS_PER_LINE = 200


class Link:
    """One end of a link. What is sent after the other end has gone is dropped."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Self:
        """Take over one end of a socket pair."""
        return cls(*await asyncio.open_connection(sock=end, limit=_READ_AHEAD))

    def send(self, line: Mapping[str, Any]) -> None:
        """Send one line without waiting."""
        if not self._writer.is_closing():
            self._writer.write(encode(line))

    async def send_facts(self, facts: Sequence[Mapping[str, Any]]) -> None:
        """Send trace facts, and wait while the other end is slow to read them."""
        for start in range(0, len(facts), _FACTS_PER_LINE):
            self.send({"facts": facts[start : start + _FACTS_PER_LINE]})
            await self.flush()

    async def flush(self) -> None:
        """Wait until the other end has taken most of what was sent, or is gone."""
        try:
            await self._writer.drain()
        except ConnectionError:
            self._writer.close()

    async def lines(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what arrives until the other end closes."""
        rest, searched = bytearray(), 0
        while chunk := await self._read():
            rest += chunk
            while (end := rest.find(b"\n", searched)) >= 0:
                line = json.loads(rest[:end])
                del rest[: end + 1]
                searched = 0
                yield line
            searched = len(rest)

    async def _read(self) -> bytes:
        try:
            return await self._reader.read(_READ_AHEAD)
        except ConnectionError:
            return b""

    def close(self) -> None:
        """Let go. Safe to call twice."""
        self._writer.close()
