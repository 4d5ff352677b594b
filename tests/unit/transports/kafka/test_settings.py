import sys

import pytest

from microlith.transports import MissingDriverError, TransportUrlError, make_transport
from microlith.transports.kafka.settings import read_url


def test_url_of_one_host_has_the_usual_port():
    settings = read_url("kafka://broker")

    assert settings.broker == "kafka://broker:9092"
    assert settings.connection["bootstrap.servers"] == "broker:9092"
    assert settings.connection["security.protocol"] == "PLAINTEXT"


def test_url_may_name_several_hosts():
    settings = read_url("kafka://one:1,two,[::1]:3/")

    assert settings.connection["bootstrap.servers"] == "one:1,two:9092,[::1]:3"


def test_password_is_told_to_the_client_and_shown_to_nobody():
    settings = read_url("kafkas://me:s%3Acr%40t@broker?mechanism=SCRAM-SHA-512&cafile=/ca.pem")

    assert settings.broker == "kafkas://broker:9092"
    assert {name: settings.connection[name] for name in settings.connection if "sasl" in name or "ssl" in name} == {
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "me",
        "sasl.password": "s:cr@t",
        "ssl.ca.location": "/ca.pem",
    }
    assert settings.connection["security.protocol"] == "SASL_SSL"


@pytest.mark.parametrize(
    ("scheme", "login", "protocol"),
    [("kafka", "", "PLAINTEXT"), ("kafkas", "", "SSL"), ("kafka", "me:pw@", "SASL_PLAINTEXT")],
)
def test_scheme_and_login_decide_the_protocol(scheme, login, protocol):
    assert read_url(f"{scheme}://{login}broker").connection["security.protocol"] == protocol


def test_options_say_how_topics_are_made():
    settings = read_url("kafka://broker?partitions=12&inbox_partitions=3&replication=2&group_protocol=classic")

    assert settings[2:] == (12, 3, 2, "classic")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("kafka:", "the host is missing"),
        ("kafka://", "the host is missing"),
        ("kafka://me:hush@", "the host is missing"),
        ("kafka://one,,two", "the host is missing"),
        ("kafka://a b", "'a b' is not a host"),
        ("kafka://broker:0", "0 is not a port"),
        ("kafka://broker:99999", "99999 is not a port"),
        ("kafka://[::1", "Invalid IPv6 URL"),
        ("kafka://broker/topic", "nothing may follow the hosts but options, not '/topic'"),
        ("kafka://broker?partition=3", "the option 'partition' is not known"),
        ("kafka://broker?linger=3", "the option 'linger' is not known"),
        ("kafka://broker?partitions=", "the option 'partitions' has no value"),
        ("kafka://broker?partitions=0", "partitions is '0', not a number from 1 on"),
        ("kafka://broker?partitions=²", "partitions is '²', not a number from 1 on"),
        ("kafka://broker?replication=many", "replication is 'many', not a number from 1 on"),
        ("kafka://broker?group_protocol=share", "group_protocol is 'share', not one of consumer, classic"),
        ("kafka://me:hush@broker?mechanism=MD5", "mechanism is 'MD5'"),
        ("kafka://broker?mechanism=PLAIN", "the user is missing"),
        ("kafka://:hush@broker", "the user is missing"),
        ("kafka://broker?cafile=a", "'cafile' is for kafkas:"),
        ("kafkas://broker?keyfile=a", "there is a keyfile and no certfile"),
    ],
)
def test_url_that_means_nothing_is_refused_with_the_reason(url, problem):
    with pytest.raises(TransportUrlError) as refused:
        make_transport(url)

    assert problem in str(refused.value)
    assert "hush" not in str(refused.value)
    assert refused.value.hint


def test_close_name_of_an_option_is_offered():
    with pytest.raises(TransportUrlError) as refused:
        read_url("kafka://broker?partition=3")

    assert refused.value.hint == "Did you mean 'partitions'?"


@pytest.mark.parametrize("scheme", ["kafka", "kafkas"])
def test_missing_library_is_named(monkeypatch, scheme):
    for name in [name for name in sys.modules if name.startswith(("microlith.transports.kafka", "confluent_kafka"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)

    with pytest.raises(MissingDriverError) as missing:
        make_transport(f"{scheme}://broker")

    assert "microlith[kafka]" in missing.value.hint


def test_transport_of_a_url_connects_to_nothing_by_itself():
    transport = make_transport("kafka://127.0.0.1:1")

    assert transport.broker == "kafka://127.0.0.1:1"
    assert transport.largest >= 1024 * 1024
