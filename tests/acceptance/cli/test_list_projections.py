"""`microlith list --projections`: where each one stands, while the application runs and while it does not."""

import time

import pytest

from tests.acceptance.cli.shop import start_run, stop

PROJECTIONS = """
from microlith import ReadModel, Table
from shop.auth import auth
from shop.auth.commands.all import *


class Echo(ReadModel, key="text"):
    text: str


inline = auth.projection("inline", Echo)
later = auth.projection("later", Echo, inline=False)
broken = auth.projection("broken", Echo, inline=False)
outside = auth.external_projection("outside")


@inline.on(EchoedEvent)
@later.on(EchoedEvent)
def echoed(event: EchoedEvent) -> None:
    pass


@broken.on(EchoedEvent)
def fail(event: EchoedEvent) -> None:
    raise ValueError("planted")


@outside.on(EchoedEvent)
async def note(event: EchoedEvent) -> None:
    pass
"""


@pytest.fixture
def echoing(tool):
    """A project with a projection of every kind, one of them broken."""
    folder = tool.folder / "shop" / "auth" / "projections"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "all.py").write_text(PROJECTIONS, "utf-8")
    return tool


def standings(tool):
    rows = tool("list", "--projections", "--json").lines
    return {
        row["name"]: (row["kind"], row["checkpoint"], row["behind"], row["error"], row["stopped_at"]) for row in rows
    }


EXPECTED = {
    "auth.inline": ("inline", 1, 0, None, None),
    "auth.later": ("asynchronous", 1, 0, None, None),
    "auth.broken": ("asynchronous", -1, 2, "ValueError: planted", "EchoedEvent"),
    "auth.outside": ("external", 1, 0, None, None),
}


def test_nothing_is_known_before_the_first_start(echoing):
    assert standings(echoing)["auth.later"] == ("asynchronous", None, None, None, None)
    assert "asynchronous  not known" in echoing("list", "--projections").out


def test_standings_are_told_running_or_not(echoing):
    process = start_run(echoing.folder)
    try:
        for text in ("one", "two"):
            assert echoing("dispatch", "EchoCommand", "--text", text, "--wait", "EchoedEvent").code == 0
        deadline = time.monotonic() + 10
        while (running := standings(echoing)) != EXPECTED and time.monotonic() < deadline:
            time.sleep(0.05)
        told = echoing("list", "--projections").out
        doctor = echoing("doctor").out
        replayed = echoing("replay", "projection", "auth.outside")
        refused = echoing("replay", "projection", "auth.broken")
    finally:
        stop(process)

    assert running == EXPECTED
    assert "auth.later    asynchronous  up to date" in told
    assert "auth.broken   asynchronous  stopped before position 0, EchoedEvent: ValueError: planted" in told
    assert "ML011 error: auth.broken stopped before position 0, EchoedEvent: ValueError: planted" in doctor
    assert standings(echoing) == EXPECTED
    assert (replayed.code, refused.code) == (1, 1)
    assert "declares no reset" in replayed.err
    assert "planted" in refused.err
