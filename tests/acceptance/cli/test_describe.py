"""`microlith describe`: one message, from a running application and without one."""

import shlex

from tests.acceptance.cli.light import heavy_imports
from tests.acceptance.cli.shop import Tool


def test_a_command_is_described(either):
    ended = either("describe", "LoginCommand")

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("LoginCommand  command of auth\n  Log a user in.\n")
    for part in (
        "  defined in  shop/auth/commands/all.py:10\n",
        "  handled by  auth.login  shop/auth/handlers/all.py:8  one at a time\n",
        "  causes      UserLoggedInEvent, LoginErrorRaised\n",
        "    email     text    required. Who it is.\n",
        "    password  secret  required, shown as ***.\n",
    ):
        assert part in ended.out


def test_an_event_has_handlers_emitters_and_no_projection(either):
    (found,) = either("describe", "UserLoggedInEvent", "--json").lines

    assert (found["item"], found["kind"], found["projections"]) == ("message", "event", [])
    assert [row["name"] for row in found["handled_by"]] == ["auth.greet"]
    assert [row["name"] for row in found["emitted_by"]] == ["auth.login"]


def test_a_query_names_its_response_and_back(either):
    assert "  answered by  CurrentUserResponse\n" in either("describe", "CurrentUserRequest").out
    assert "  answers     CurrentUserRequest\n" in either("describe", "CurrentUserResponse").out


def test_defaults_and_nested_fields_are_shown(either):
    (found,) = either("describe", "auth.EchoCommand", "--json").lines

    fields = {field["name"]: field for field in found["fields"]}
    assert fields["unit"]["default"] == '"kg"'
    assert {"address.city", "address.zip_code"} <= set(fields)


def test_the_example_works(attached):
    (found,) = attached("describe", "SlowCommand", "--json").lines

    ended = attached(*shlex.split(found["example"])[1:])

    assert found["example"].endswith("--wait SlowDoneEvent")
    assert ended.code == 0, ended


def test_when_it_was_last_seen_and_how_it_ended_is_told(tool):
    before = tool("describe", "FailCommand").out
    tool("dispatch", "FailCommand", "--text", "once more")

    (found,) = tool("describe", "FailCommand", "--json").lines

    assert "  last seen   not in the trace log\n" in before
    assert [(row["handler"], row["outcome"]) for row in found["last_seen"]["handled"]] == [("auth.fail", "failed")]
    assert "auth.fail failed in " in tool("describe", "FailCommand").out


def test_a_command_that_nobody_handles_says_why(tool):
    messages = tool.folder / "shop" / "auth" / "commands" / "more.py"
    messages.write_text("from microlith import Command\n\n\nclass PayCommand(Command):\n    token: str = 'planted'\n")

    ended = tool("describe", "PayCommand")

    assert "No function is decorated with handles(PayCommand)" in ended.out
    assert "`microlith new handler auth.PayCommand` adds one." in ended.out
    assert "planted" not in ended.out


def test_limits_of_a_field_are_told(tool):
    messages = tool.folder / "shop" / "auth" / "commands" / "more.py"
    messages.write_text(
        "from microlith import Command\nfrom pydantic import Field\n\n\nclass PayCommand(Command):\n"
        "    amount: int = Field(gt=0, le=100)\n    reference: str = Field(max_length=5, pattern='^[A-Z]+$')\n"
    )

    shown = tool("describe", "PayCommand").out

    assert "    amount     integer  required, more than 0, at most 100.\n" in shown
    assert "    reference  text     required, at most 5 characters, matches ^[A-Z]+$.\n" in shown


def test_an_unknown_message_names_the_nearest(either):
    ended = either("describe", "LoginComand")

    assert (ended.code, ended.out) == (2, "")
    assert "Did you mean 'LoginCommand'?" in ended.err


def test_describing_needs_a_project_and_a_message(tmp_path, tool):
    assert Tool(tmp_path)("describe", "LoginCommand").code == 2
    assert tool("describe").code == 2


def test_asking_a_running_application_imports_nothing_heavy(attached):
    assert heavy_imports(attached, "describe", "LoginCommand") == set()


VERSIONED = """
from microlith import Event
from shop.auth import auth


class PaidEvent(Event, version=3, formerly=["PayedEvent"]):
    cents: int


@auth.upcasts(PaidEvent, version=1)
def from_euros(old):
    return {"cents": old["euros"] * 100}


@auth.upcasts(PaidEvent, version=2)
def from_text(old):
    return {"cents": int(old["cents"])}
"""
GUARDED = """
from microlith import Microlith
from microlith.middleware import Middleware
from microlith.middlewares import Timeout


class Guard(Middleware):
    def dispatching(self, envelope):
        return envelope


app = Microlith("shop", components="shop", middleware=[Guard(), Timeout({})])
"""


def test_versions_earlier_names_and_middleware_are_told(tool):
    (tool.folder / "shop" / "auth" / "events").mkdir()
    (tool.folder / "shop" / "auth" / "events" / "__init__.py").touch()
    (tool.folder / "shop" / "auth" / "events" / "paid.py").write_text(VERSIONED)
    (tool.folder / "shop" / "app.py").write_text(GUARDED)

    shown, (found,) = tool("describe", "PaidEvent"), tool("describe", "PaidEvent", "--json").lines

    assert (
        "  version      3\n"
        "               1 → 2  from_euros  shop/auth/events/paid.py:10\n"
        "               2 → 3  from_text  shop/auth/events/paid.py:15\n"
        "  formerly     PayedEvent\n"
        "  middleware   Guard  shop/app.py:7  when it is sent\n"
        "               Timeout  around its handlers\n"
    ) in shown.out
    assert (found["version"], found["formerly"]) == (3, ["PayedEvent"])
    assert [each["version"] for each in found["upcasters"]] == [1, 2]
    assert [each["name"] for each in found["middleware"]] == ["Guard", "Timeout"]


def test_what_is_not_stored_has_no_version_to_tell(either):
    assert "  version" not in either("describe", "CurrentUserRequest").out
    assert "  version     1\n" in either("describe", "LoginCommand").out
