"""Kafka behind TLS and a login: who is trusted, who is let in, and what is said when not; no secret is told to anybody."""

import asyncio
import logging

import pytest

from microlith.testing.transport_contract.stage import publish
from microlith.transports import (
    Parcel,
    Subscribing,
    Topic,
    Topology,
    TransportUnavailableError,
    make_transport,
)
from tests.servers.certificates import Authority
from tests.servers.kafka import USERS

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(120)]

COMMANDS = Topic("command", "stock")
HANDLING = Subscribing(COMMANDS, "stock")
COUNT = Parcel({"specversion": "1.0", "id": "count-1", "source": "/test", "type": "Count"}, b"{}", "A")
SIZES = "partitions=1&inbox_partitions=1"


@pytest.fixture
async def opened(kafka_prefix):
    """Open a transport that sends commands and takes them; close it at the end."""
    transports = []

    async def open_one(url):
        transport = make_transport(f"{url}&{SIZES}")
        transports.append(transport)
        await transport.open(Topology(kafka_prefix.rstrip("."), sends=(COMMANDS,), takes=(HANDLING,)))
        return transport

    yield open_one
    for transport in transports:
        await transport.close()


@pytest.mark.parametrize("mechanism", USERS)
async def test_message_goes_and_comes_by_tls_after_a_login(kafka, opened, mechanism):
    transport = await opened(f"{kafka.secure_url(mechanism)}&cafile={kafka.authority.certificate}")

    await publish(transport, (COMMANDS, COUNT))
    async with asyncio.timeout(60):
        arrival = await anext(aiter(transport.subscribe(HANDLING, prefetch=1)))
    arrival.settle()

    assert arrival.parcel.attributes["id"] == "count-1"


@pytest.mark.parametrize("mechanism", USERS)
async def test_wrong_password_is_refused_and_told_to_nobody(kafka, opened, mechanism, caplog):
    caplog.set_level(logging.DEBUG)

    with pytest.raises(TransportUnavailableError, match=r"(?i)authentication") as refused:
        await opened(f"{kafka.secure_url(mechanism, 'open-sesame')}&cafile={kafka.authority.certificate}")

    assert "the password" in refused.value.hint
    assert "open-sesame" not in f"{refused.value} {refused.value.hint} {caplog.text}"


async def test_authority_that_is_not_trusted_is_refused(kafka, opened, tmp_path):
    stranger = Authority(tmp_path / "tls").certificate

    with pytest.raises(TransportUnavailableError, match=r"certificate verify failed") as refused:
        await opened(f"{kafka.secure_url('PLAIN')}&cafile={stranger}")

    assert "cafile" in refused.value.hint
