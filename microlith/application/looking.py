"""Looking at brokers: whether each answers, lets this process in, and has what it needs there.

On connections of its own, which end with the look; makes and changes nothing, and takes no message.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from microlith.application.connecting import Connections
from microlith.errors import MicrolithError
from microlith.transports import Change, Topology, Transport, TransportUnavailableError
from microlith.urls import masked

_SECONDS = 10.0
"""How long one broker is waited for. Whoever looks wants an answer, even if it is that there was none."""


class Looked(NamedTuple):
    """What was seen of one broker.

    Attributes:
        broker: Where it is, without user and password.
        carries: Which buses, and types by "types.NAME", go over it.
        changes: What is missing there, or differs.
        error: Why nothing could be seen; None where it answered.
    """

    broker: str
    carries: Sequence[str]
    changes: Sequence[Change]
    error: MicrolithError | None


async def look(connections: Connections) -> list[Looked]:
    """Look at every broker that carries something for a process, at all of them at the same time."""
    given = connections.topologies().items()
    return list(await asyncio.gather(*(_look(connections, url, topology) for url, topology in given)))


async def _look(connections: Connections, url: str, topology: Topology) -> Looked:
    carries = connections.carried_by(url)
    try:
        transport = connections.connect(url)
    except MicrolithError as error:  # the url means nothing, or its library is not there
        return Looked(masked(url), carries, (), error)
    try:
        async with asyncio.timeout(_SECONDS):
            changes = await _planned(transport, topology)
    except TimeoutError:
        late = TransportUnavailableError(transport.broker, f"it gave no answer within {_SECONDS:g} s.")
        return Looked(transport.broker, carries, (), late)
    except MicrolithError as error:
        return Looked(transport.broker, carries, (), error)
    return Looked(transport.broker, carries, changes, None)


async def _planned(transport: Transport, topology: Topology) -> list[Change]:
    try:
        return await transport.plan(topology._replace(inbox=None))
    finally:
        await transport.close()
