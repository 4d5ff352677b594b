"""The page about the control channel names its verbs and its limits as they are."""

import re

from microlith_cli.control import connection, server
from microlith_cli.control.lines import MAX_LINE, PROTOCOL
from microlith_cli.strict_json import MAX_DEPTH, MAX_PAYLOAD
from microlith_cli.supervisor.desk import VERBS
from tests.meta.tree import ROOT

PAGE = (ROOT / "docs" / "control-channel.md").read_text("utf-8")


def test_page_names_every_verb():
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == list(VERBS)


def test_page_names_the_limits():
    assert (MAX_PAYLOAD, MAX_LINE - MAX_PAYLOAD, MAX_DEPTH) == (1 << 20, 64 << 10, 64)
    assert "1 MiB for its payload and 64 KiB for the words" in PAGE
    assert f'"protocol":{PROTOCOL}' in PAGE
    rows = dict(re.findall(r"^\| ([\w ]+) \| (\d+ ?\w*) \|", PAGE, re.MULTILINE))
    assert rows["clients"] == str(server.MAX_CLIENTS)
    assert rows["callers that wait to be let in"] == str(server.AT_A_TIME)
    assert rows["open requests of a client"] == str(connection.MAX_OPEN)
    assert rows["bytes that wait for a client to read them"] == f"{connection.BUFFER >> 20} MiB"
    assert rows["a line that was begun"] == f"{connection.LINE_SECONDS:g} s"
    assert rows["silence without an open request"] == f"{connection.IDLE_SECONDS / 60:g} min"
