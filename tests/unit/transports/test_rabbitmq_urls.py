"""Urls of RabbitMQ: what they mean, and that no error shows a password."""

import pytest

from microlith.transports import TransportUrlError, make_transport
from microlith.transports.rabbitmq.place import place_of


@pytest.mark.parametrize(
    ("url", "amqp", "shown"),
    [
        ("rabbitmq://host", "amqp://host:5672/?heartbeat=10", "rabbitmq://host:5672/"),
        ("rabbitmq://u:p@host/", "amqp://u:p@host:5672/?heartbeat=10", "rabbitmq://host:5672/"),
        ("rabbitmq://u:p%40%2F@host:1/shop", "amqp://u:p%40%2F@host:1/shop?heartbeat=10", "rabbitmq://host:1/shop"),
        ("rabbitmq://host/a%2Fb", "amqp://host:5672/a%2Fb?heartbeat=10", "rabbitmq://host:5672/a%2Fb"),
        ("rabbitmq://[::1]:7/?heartbeat=2", "amqp://[::1]:7/?heartbeat=2", "rabbitmq://[::1]:7/"),
        ("rabbitmqs://host/?cafile=ca.pem", "amqps://host:5671/?heartbeat=10", "rabbitmqs://host:5671/"),
    ],
)
def test_url_says_where_the_broker_is(url, amqp, shown):
    place = place_of(url)

    assert (place.amqp, place.shown) == (amqp, shown)
    assert make_transport(url).broker == shown


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("rabbitmq://host/?hartbeat=5", "Did you mean 'heartbeat'?"),
        ("rabbitmqs://host/?ca_file=ca.pem", "Did you mean 'cafile'?"),
        ("rabbitmq://host/?xyzzy=5", "Known are heartbeat, "),
    ],
)
def test_option_that_there_is_not_is_told_with_the_one_that_was_meant(url, hint):
    with pytest.raises(TransportUrlError) as refused:
        make_transport(url)

    assert refused.value.hint.startswith(hint)


@pytest.mark.parametrize(
    ("options", "shared"),
    [("", False), ("?shared=no", False), ("?shared=yes", True), ("?heartbeat=2&shared=yes", True)],
)
def test_url_says_whether_commands_are_shared(options, shared):
    place = place_of(f"rabbitmq://host/{options}")

    assert place.shared is shared
    assert "shared" not in place.amqp + place.shown


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("rabbitmq:", "the host is missing"),
        ("rabbitmq:///shop", "the host is missing"),
        ("rabbitmq://u:secret@host:port/", "cannot be read"),
        ("rabbitmq://u:sec/ret@host/", "cannot be read"),
        ("rabbitmq://u:secret@[::1/", "cannot be read"),
        ("rabbitmq://u:secret@host/?heartbeet=2", "'heartbeet' is not known"),
        ("rabbitmq://u:secret@host/?heartbeat=0", "'0' is no number of seconds from 1 to 600"),
        ("rabbitmq://u:secret@host/?heartbeat=1.5", "'1.5' is no number"),
        ("rabbitmq://u:secret@host/?shared=true", "shared is yes or no, not 'true'"),
        ("rabbitmqs://u:secret@host/?shared=", "shared is yes or no, not ''"),
        ("rabbitmq://u:secret@host/?cafile=ca.pem", "'cafile' is for rabbitmqs:"),
        ("rabbitmqs://u:secret@host/?keyfile=key.pem", "there is a keyfile and no certfile"),
    ],
)
def test_url_that_means_nothing_is_refused_without_its_password(url, problem):
    with pytest.raises(TransportUrlError, match=problem.replace("?", r"\?")) as refused:
        make_transport(url)

    assert "sec" not in str(refused.value).replace("seconds", "")
    assert "ret" not in str(refused.value)
