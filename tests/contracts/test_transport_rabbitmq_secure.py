"""RabbitMQ behind TLS and a login: who is trusted, who is let in, and what is said when not; no secret is told to anybody."""

import asyncio
import logging
from urllib.parse import quote

import pytest

from microlith.testing.transport_contract.stage import COMMANDS, HANDLING, PATIENCE, publish, sent_to
from microlith.transports import Topology, TransportUnavailableError, make_transport
from tests.servers.certificates import Authority

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(120)]

NEEDED = Topology("shop", sends=(COMMANDS,), takes=(HANDLING,))
SECRET = "s3cr3t@/x:%41"


@pytest.fixture
def ada(rabbitmq, rabbitmq_url):
    """The url of a user with a virtual host, by TLS."""
    vhost = rabbitmq_url.rpartition("/")[2]
    rabbitmq.create_user("ada", SECRET, vhost)
    yield rabbitmq.secure_url(f"ada:{quote(SECRET, safe='')}", vhost)
    rabbitmq.manage("DELETE", "users/ada")


async def refusal(url):
    """What is said when a broker is not let in, or does not let us in."""
    with pytest.raises(TransportUnavailableError) as refused:
        await make_transport(url).open(NEEDED)
    return refused.value


async def test_message_goes_and_comes_by_tls_after_a_login(rabbitmq, ada):
    transport = make_transport(f"{ada}?cafile={rabbitmq.authority.certificate}")

    await transport.open(NEEDED)
    await publish(transport, *sent_to(COMMANDS, "Secret"))
    async with asyncio.timeout(PATIENCE):
        arrival = await anext(aiter(transport.subscribe(HANDLING, prefetch=1)))
    arrival.settle()
    await transport.close()

    assert arrival.parcel.attributes["type"] == "Secret"


@pytest.mark.parametrize("secure", [True, False], ids=["tls", "plain"])
async def test_wrong_password_is_refused_and_told_to_nobody(rabbitmq, caplog, secure):
    caplog.set_level(logging.DEBUG)
    login = f"guest:{quote(SECRET, safe='')}"
    secured = f"{rabbitmq.secure_url(login)}?cafile={rabbitmq.authority.certificate}"
    url = secured if secure else f"rabbitmq://{login}@127.0.0.1:{rabbitmq.port}/"

    refused = await refusal(url)

    assert "refused" in str(refused)
    assert "the password" in refused.hint
    shown = f"{refused} {refused.hint} {refused.__cause__!r} {make_transport(url).broker} {make_transport(url)!r} {caplog.text}"
    assert not {text for text in (SECRET, quote(SECRET, safe=""), "s3cr3t") if text in shown}


async def test_authority_that_is_not_trusted_is_refused(rabbitmq, ada, tmp_path):
    stranger = Authority(tmp_path / "tls").certificate

    of_another = await refusal(f"{ada}?cafile={stranger}")
    of_the_system = await refusal(ada)

    for refused in (of_another, of_the_system):
        assert "certificate verify failed" in str(refused)
        assert "cafile" in refused.hint


async def test_name_that_is_not_in_the_certificate_is_refused(rabbitmq, ada):
    refused = await refusal(f"{ada.replace('127.0.0.1', 'localhost')}?cafile={rabbitmq.authority.certificate}")

    assert "localhost" in str(refused)


async def test_missing_file_of_certificates_is_named(ada, tmp_path):
    refused = await refusal(f"{ada}?cafile={tmp_path / 'nothing.pem'}")

    assert "nothing.pem' is not there" in str(refused)


async def test_port_without_tls_is_not_spoken_to_in_the_clear(rabbitmq):
    refused = await refusal(f"rabbitmqs://guest:guest@127.0.0.1:{rabbitmq.port}/")

    assert "TLS" in refused.hint


async def test_virtual_host_that_is_not_there_is_named_as_the_trouble(rabbitmq_url):
    refused = await refusal(f"{rabbitmq_url}-nope")

    assert "virtual host" in str(refused)
    assert "path of its url" in refused.hint
