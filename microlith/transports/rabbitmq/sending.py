"""Gives parcels to the broker, and waits until it has taken them."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

from aiormq import Channel, ChannelNotFoundEntity, ChannelPreconditionFailed, DeliveryError, PublishError

from microlith.payloads import MAX_BYTES
from microlith.transports.errors import TopologyDriftError, TransportUnavailableError
from microlith.transports.rabbitmq.line import Line, is_loss, text_of
from microlith.transports.rabbitmq.packing import Packet

_TOO_LARGE = re.compile(r"message size \d+ .*larger than .*max size (\d+)")

Outcome = BaseException | None


class Sender:
    """Sends over one line, on a channel that is made again when the broker closes it.

    Args:
        line: The line.
        shown: The broker, for errors.
        declare: Makes anew what has to be there.

    Attributes:
        largest: How many bytes of data the broker takes.
    """

    def __init__(self, line: Line, shown: str, declare: Callable[[], Awaitable[None]]) -> None:
        self.largest = MAX_BYTES
        self._line = line
        self._shown = shown
        self._declare = declare
        self._channel: Channel | None = None
        self._opening = asyncio.Lock()

    async def send(self, packets: Sequence[Packet]) -> None:
        """Send packets in order; return when the broker has taken all of them.

        Raises:
            TransportUnavailableError: It may not have taken them.
            TopologyDriftError: A queue that has to be there is not, nor does this transport make it.
        """
        failed = await self._send(packets)
        if failed:  # what they were for was deleted since it was made
            await self._declare()
            failed = await self._send(failed)
        if failed:
            lost = failed[0]
            raise TopologyDriftError(self._shown, [f"{lost.exchange} has no queue for {lost.routing_key!r}"])

    async def _send(self, packets: Sequence[Packet]) -> list[Packet]:
        """Send packets; return those that an exchange or a queue was missing for."""
        channel = await self._open()
        outcomes: Sequence[Outcome]
        if len(packets) == 1:
            outcomes = [await _publish(channel, packets[0])]
        else:
            # Each is written when its turn comes: tasks begin in the order they are made, and the channel's lock keeps it.
            outcomes = await asyncio.gather(*(_publish(channel, packet) for packet in packets))
        exchanges = {packet.exchange for packet in packets}
        for outcome in outcomes:
            if outcome is not None and not _is_missing(outcome, exchanges):
                self._lost(outcome)
        return [packet for packet, outcome in zip(packets, outcomes, strict=True) if outcome is not None]

    def _lost(self, error: BaseException) -> NoReturn:
        if isinstance(error, ChannelPreconditionFailed) and (told := _TOO_LARGE.search(str(error))):
            self.largest = int(told[1])  # whoever sends that one again is told which it is
        if isinstance(error, DeliveryError):
            raise TransportUnavailableError(self._shown, "it did not take a message") from error
        raise TransportUnavailableError(self._shown, text_of(error)) from error

    async def _open(self) -> Channel:
        """Return the channel; a new one on a new connection, and when the broker has closed the one before."""
        async with self._opening:
            connection = await self._line.get()
            channel = self._channel
            if channel is not None and not channel.is_closed and channel.connection is connection:
                return channel
            try:
                if channel is not None and channel.connection is connection:
                    await self._declare()  # the broker may have closed it because something was gone
                self._channel = channel = await connection.open_channel(confirms=True)
            except BaseException as error:
                if not is_loss(error):
                    raise
                raise TransportUnavailableError(self._shown, text_of(error)) from error
            return channel


def _is_missing(error: BaseException, exchanges: set[str]) -> bool:
    """Tell whether the broker lacks a queue, or one of some exchanges: not one that somebody else sends to."""
    if isinstance(error, ChannelNotFoundEntity):
        return any(f"'{exchange}'" in str(error) for exchange in exchanges)
    return isinstance(error, PublishError)


async def _publish(channel: Channel, packet: Packet) -> Outcome:
    """Send one packet; return what went wrong."""
    try:
        await channel.basic_publish(
            packet.data,
            exchange=packet.exchange,
            routing_key=packet.routing_key,
            properties=packet.properties,
            mandatory=packet.kept,
            wait=False,  # the confirmation is waited for, which is more
        )
    except BaseException as error:
        if not is_loss(error):
            raise
        return error
    return None
