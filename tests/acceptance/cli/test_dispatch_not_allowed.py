"""What an application does not allow: the tool says who may not send what, and ends with 1."""

import pytest

from tests.acceptance.cli.shop import Tool, start_run, stop, write_shop

APP = """
from microlith import Microlith
from microlith.middlewares import Authorisation


def allowed(envelope, principal):
    return principal is not None or type(envelope.message).__name__ == "CurrentUserRequest"


app = Microlith("shop", components="shop", middleware=[Authorisation(allowed)])
"""


@pytest.fixture(params=["attached", "once"])
def guarded(request, tmp_path):
    folder = write_shop(tmp_path / "shop")
    (folder / "shop" / "app.py").write_text(APP, "utf-8")
    process = start_run(folder) if request.param == "attached" else None
    yield Tool(folder)
    if process is not None:
        stop(process)


def test_a_refusal_is_shown_as_one_and_leaves_nothing_behind(guarded):
    ended = guarded("dispatch", "EchoCommand", "--text", "hello", "--json")

    (line,) = ended.lines
    assert (ended.code, line["exit"], line["error"]["type"]) == (1, 1, "NotAllowedError")
    assert line["error"]["message"] == "Nobody in particular may not send EchoCommand."
    assert "hello" not in ended.out + ended.err
    assert "EchoCommand" not in guarded("trace", "--json").out

    plain = guarded("dispatch", "EchoCommand", "--wait", "EchoedEvent")
    assert (plain.code, plain.out) == (1, "")
    assert "may not send EchoCommand" in plain.err

    assert guarded("dispatch", "CurrentUserRequest", "--id", "7").code == 0
