"""FastStream over Kafka, as its documentation uses it: a subscriber for each topic, and `publish` that waits for Kafka.

It has no requests over Kafka. So a question names where its answer is to go, and a dictionary of futures by correlation id
finds who asked; that much is written here by hand, as its users do.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.rounds import Stopwatch
from microlith.transports import Parcel

AllOf = Callable[[Callable[[int], Awaitable[Any]], int, int], Awaitable[None]]


def made(module: Any, bootstrap: str) -> Any:
    """Make a broker with the settings that the other contestants have."""
    return module.KafkaBroker(
        bootstrap, acks="all", enable_idempotence=True, linger_ms=1, allow_auto_create_topics=False, logger=None
    )


async def run(
    module: Any,
    bootstrap: str,
    topics: tuple[str, str],
    parcel: Callable[[int], Parcel],
    all_of: AllOf,
    items: int,
    at_a_time: int,
    *,
    answered: bool,
) -> float:
    """Send parcels to the first topic, and have each answered over the second if wanted; return seconds for each."""
    work, inbox = topics
    broker = made(module, bootstrap)
    taken = asyncio.Event()
    left = items + 1
    waiting: dict[str, asyncio.Future[None]] = {}
    groups = {"auto_offset_reset": "earliest", "polling_interval": 0.01, "fetch_max_wait_ms": 200}

    async def take(message: dict[str, Any]) -> dict[str, Any] | None:
        nonlocal left
        left -= 1
        if left in (0, items):
            taken.set()
        return message if answered else None

    async def hear(_: dict[str, Any], message: module.KafkaMessage) -> None:
        waiting.pop(message.correlation_id).set_result(None)

    broker.subscriber(work, group_id=f"{work}.faststream", **groups)(take)
    broker.subscriber(inbox, group_id=f"{inbox}.faststream", **groups)(hear)

    async def send(number: int) -> None:
        one = parcel(number)
        headers = {f"ce_{name}": value for name, value in one.attributes.items()}
        name = one.attributes["id"]
        if answered:
            waiting[name] = asyncio.get_running_loop().create_future()
        await broker.publish(
            one.data,
            work,
            key=one.key.encode(),
            headers={**headers, "content-type": "application/json"},
            correlation_id=name,
            reply_to=inbox if answered else "",
        )
        if answered:
            await waiting[name]

    async with broker:
        await broker.start()
        await send(0)
        await taken.wait()
        taken.clear()
        watch = Stopwatch(wall=True)
        await all_of(send, items, at_a_time)
        await taken.wait()
        return watch.each(items)
