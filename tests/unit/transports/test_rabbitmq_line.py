"""A line to RabbitMQ, as far as it needs no broker."""

import asyncio

import pytest

from microlith.transports.rabbitmq import line


async def test_task_ends_that_takes_its_cancellation_for_a_lost_connection(monkeypatch):
    monkeypatch.setattr(line, "_CANCELLED_AGAIN", 0.01)
    lost = []

    async def connects_again():
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:  # as the library does now and then
                lost.append("connection")
                if len(lost) == 3:
                    raise

    task = asyncio.create_task(connects_again())
    await asyncio.sleep(0)

    async with asyncio.timeout(20):
        await line.end_task(task)

    assert (task.cancelled(), len(lost)) == (True, 3)


async def test_what_a_task_has_failed_with_is_told():
    async def fails():
        raise ValueError("by itself")

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)

    with pytest.raises(ValueError, match="by itself"):
        await line.end_task(task)
