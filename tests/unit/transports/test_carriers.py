"""What carries which messages: the configuration, and the environment variables that its urls name."""

import pytest

from microlith import WiringError
from microlith.application.carriers import filled_in

SET = {"USER": "ann", "PASSWORD": "p@ss/w:rd%41${X}", "HOSTS": "one:9092,two:9092", "EMPTY": ""}


@pytest.mark.parametrize(
    ("url", "filled"),
    [
        ("rabbitmq://${USER}:${PASSWORD}@host/shop", "rabbitmq://ann:p%40ss%2Fw%3Ard%2541%24%7BX%7D@host/shop"),
        ("kafka://${HOSTS}", "kafka://one:9092,two:9092"),
        ("kafka://${USER}:x@${HOSTS}?a=${USER}", "kafka://ann:x@one:9092,two:9092?a=ann"),
        ("rabbitmq://host/${USER}@home", "rabbitmq://host/ann@home"),
        ("memory:", "memory:"),
        ("rabbitmq://a:$USER@host/", "rabbitmq://a:$USER@host/"),
    ],
)
def test_variables_in_a_url_are_filled_in_and_a_login_is_escaped(url, filled):
    assert filled_in({"command": url}, SET) == {"command": filled}


@pytest.mark.parametrize("name", ["MISSING", "EMPTY"])
def test_variable_that_is_not_set_is_an_error_that_names_it_and_the_bus(name):
    with pytest.raises(WiringError, match=f"'types.Say' names {name}, which the environment") as refused:
        filled_in({"event": "memory:", "types.Say": f"rabbitmq://a:${{{name}}}@host/"}, SET)

    assert f"Set {name}" in refused.value.hint
