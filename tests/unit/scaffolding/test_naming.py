"""What may be called what, and what follows from a name."""

import keyword
import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microlith_cli.scaffolding import naming
from microlith_cli.scaffolding.errors import InvalidNameError
from microlith_cli.scaffolding.naming import MessageName

HOSTILE = [
    "",
    ".",
    "..",
    "../shop",
    "/etc",
    "a/b",
    "a\\b",
    "a.b",
    "~",
    "shop\x00",
    "shop\n",
    " shop",
    "Shop",
    "1shop",
    "_shop",
    "sh-op",
    "shöp",
    "\u0455hop",  # a Cyrillic letter that looks like s
    "\uff53\uff48\uff4f\uff50",  # wide letters
    "class",
    "import",
    "none\u200b",
    "a" * 61,
    "a" * 300,
    "{{app}}",
    "$(id)",
    "-C",
]


@pytest.mark.parametrize("name", [*HOSTILE, "json", "os", "test", "microlith", "tests", "pydantic", "argon2"])
def test_app_name_is_refused(name):
    with pytest.raises(InvalidNameError) as caught:
        naming.app_name(name)

    assert caught.value.hint
    assert caught.value.exit == 2


@pytest.mark.parametrize("name", [*HOSTILE, "app", "list", "str", "id", "date", "os", "microlith", "tests"])
def test_component_name_is_refused(name):
    with pytest.raises(InvalidNameError):
        naming.component_name(name)


@pytest.mark.parametrize("name", ["shop", "a", "shop2", "my_shop", "a_", "a" * 60])
def test_app_name_is_taken(name):
    assert naming.app_name(name) == name


@pytest.mark.parametrize("typed", ["Login", "LoginCommand", "login", "login_command"])
def test_command_has_one_name_however_it_is_typed(typed):
    assert naming.message_name("command", typed) == MessageName("login", "LoginCommand")


@pytest.mark.parametrize(
    ("kind", "typed", "module", "class_name"),
    [
        ("command", "ResetPassword", "reset_password", "ResetPasswordCommand"),
        ("command", "HTTPPing", "http_ping", "HttpPingCommand"),
        ("command", "step2_done", "step2_done", "Step2DoneCommand"),
        ("event", "PasswordReset", "password_reset", "PasswordResetEvent"),
        ("event", "UserLoggedInEvent", "user_logged_in", "UserLoggedInEvent"),
        ("event", "LoginErrorRaised", "login_error_raised", "LoginErrorRaised"),
        ("event", "login_error_raised", "login_error_raised", "LoginErrorRaised"),
        ("query", "CurrentUser", "current_user", "CurrentUserRequest"),
        ("query", "CurrentUserRequest", "current_user", "CurrentUserRequest"),
        ("query", "current_user_response", "current_user", "CurrentUserRequest"),
    ],
)
def test_message_is_named_after_its_kind(kind, typed, module, class_name):
    names = naming.message_name(kind, typed)

    assert (names.module, names.class_name) == (module, class_name)


def test_query_names_its_response():
    assert naming.message_name("query", "CurrentUser").response_name == "CurrentUserResponse"


@pytest.mark.parametrize(
    "name",
    [
        *(name for name in HOSTILE if name != "Shop"),
        "Class",
        "Import",
        "a__b",
        "a_",
        "camelCase",
        "Command",
        "Event",
        "Date",
    ],
)
@pytest.mark.parametrize("kind", ["command", "event", "query"])
def test_message_name_is_refused_unless_it_is_camel_or_snake(kind, name):
    with pytest.raises(InvalidNameError):
        naming.message_name(kind, name)


@pytest.mark.parametrize("target", ["login", ".login", "auth.", "auth.login.now", "auth..login", "", "."])
def test_target_is_refused_unless_it_is_component_and_name(target):
    with pytest.raises(InvalidNameError):
        naming.split_target("a command", target)


@given(st.text() | st.from_regex(r"[A-Za-z0-9_./-]{0,80}"))
@settings(max_examples=1000)
def test_any_text_is_refused_or_a_plain_identifier(text):
    for take in (naming.app_name, naming.component_name, naming.projection_name):
        try:
            taken = take(text)
        except InvalidNameError:
            continue
        assert re.fullmatch(r"[a-z][a-z0-9_]{0,59}", taken)
        assert not keyword.iskeyword(taken)
        assert take is not naming.app_name or taken not in sys.stdlib_module_names


@given(st.from_regex(r"[a-z][a-z0-9]{1,5}(_[a-z][a-z0-9]{1,5}){0,5}", fullmatch=True))
def test_camel_case_of_a_module_leads_back_to_its_class(module):
    class_name = naming.camel_case(module)

    assert naming.camel_case(naming.words_of(class_name)) == class_name
