"""What is offered where the cursor is."""

import pytest

from microlith.tracing.log import TraceLog
from microlith_cli.shell.completing import Completing

CATALOG = {
    "components": ["auth"],
    "handlers": [{"name": "auth.login"}],
    "messages": [
        {
            "type": "LoginCommand",
            "component": "auth",
            "kind": "command",
            "secrets": [],
            "schema": {
                "properties": {"email": {"type": "string"}, "unit": {"enum": ["kg", "a g"], "type": "string"}},
                "required": ["email"],
            },
        },
        {"type": "UserLoggedInEvent", "component": "auth", "kind": "event", "secrets": [], "schema": {}},
    ],
}


@pytest.fixture
def complete(tmp_path):
    log = TraceLog(tmp_path)
    log.write(
        [
            {"id": "01a20a24-85fa-737d-bb98-1add2b7b0c76", "type": "LoginCommand", "bus": "command"}
            | {"correlationid": "01a20a24-85fa-737d-bb98-1add2b7b0c76", "time": "2026-01-01T00:00:00.000000Z"}
        ]
    )
    log.close()
    completing = Completing(tmp_path, lambda: CATALOG, lambda: None)

    def found(text):
        begin, candidates = completing(text)
        return text[:begin], [word for word, _ in candidates]

    return found


@pytest.mark.parametrize(
    ("text", "before", "words"),
    [
        ("tra", "", ["trace"]),
        ("wa", "", ["watch"]),
        ("run", "", []),
        (".q", "", [".quit"]),
        ("Lo", "", ["LoginCommand"]),
        ("microlith tra", "microlith ", ["trace"]),
        ("LoginCommand --e", "LoginCommand ", ["--email", "--edit"]),
        ("auth.LoginCommand --em", "auth.LoginCommand ", ["--email"]),
        ("dispatch LoginCommand --unit ", "dispatch LoginCommand --unit ", ["kg", "a g"]),
        ("LoginCommand --unit=", "LoginCommand --unit=", ["kg", "a g"]),
        ("LoginCommand --unit 'a", "LoginCommand --unit ", ["a g"]),
        ("LoginCommand --email 'a b' --un", "LoginCommand --email 'a b' ", ["--unit"]),
        ("LoginCommand --wait U", "LoginCommand --wait ", ["UserLoggedInEvent"]),
        ("trace 2b", "trace ", ["2b7b0c76"]),
        ("trace diff @l", "trace diff ", ["@last"]),
        ("dispatch --from 2", "dispatch --from ", ["2b7b0c76"]),
        ("dead-letters show ", "dead-letters show ", []),
        ("watch st", "watch ", ["status:"]),
        ("watch type:Lo", "watch ", ["type:LoginCommand"]),
        ("watch bus:e", "watch ", ["bus:event"]),
        ("trace --filter handler:", "trace --filter ", ["handler:auth.login"]),
        (".help tra", ".help ", ["trace"]),
        ("list \\", "list ", []),
    ],
)
def test_words_are_offered(complete, text, before, words):
    found_before, found = complete(text)

    assert found_before == before
    assert [word for word in found if word not in {"--help", "--json"}] == words


@pytest.mark.parametrize("catalog", [{}, {"messages": 7}, {"messages": [{}]}, {"messages": [{"kind": "event"}]}])
def test_broken_catalog_offers_nothing_and_breaks_nothing(tmp_path, catalog):
    completing = Completing(tmp_path, lambda: catalog, lambda: None)

    assert completing("LoginCommand --e") in [(13, []), (13, [("--edit", "")])]
