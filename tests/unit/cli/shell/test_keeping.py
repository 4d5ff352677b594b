"""What of a line may be kept."""

import shlex

import pytest

from microlith_cli.shell.keeping import kept, secret_names

CATALOG = {
    "messages": [
        {
            "type": "LoginCommand",
            "secrets": ["password"],
            "schema": {
                "properties": {
                    "password": {"type": "string", "writeOnly": True, "format": "password"},
                    "email": {"type": "string"},
                    "door": {"$ref": "#/$defs/Door"},
                },
                "$defs": {
                    "Door": {
                        "type": "object",
                        "properties": {"pin": {"type": "string", "writeOnly": True, "format": "password"}},
                    }
                },
            },
        }
    ]
}
NAMES = secret_names(CATALOG)


def left(line):
    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    return kept(line, words, NAMES)


def test_names_of_secret_fields_are_collected_from_every_depth():
    assert sorted(NAMES) == ["password", "pin"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("LoginCommand  --email 'a b'", "LoginCommand  --email 'a b'"),
        ("LoginCommand --email a --password planted", "LoginCommand --email a"),
        ("LoginCommand --password=planted --email a", "LoginCommand --email a"),
        ("LoginCommand --password 'planted planted' --email 'a b'", "LoginCommand --email 'a b'"),
        ("LoginCommand --field.password planted", "LoginCommand"),
        ("LoginCommand --door.pin planted --wait X", "LoginCommand --wait X"),
        ("LoginComand --api-token planted", "LoginComand"),
        ("LoginCommand --data @file.json", "LoginCommand --data @file.json"),
        ("""LoginCommand --data '{"email": "a"}'""", """LoginCommand --data '{"email": "a"}'"""),
        ("X --header principal=user-7", "X --header principal=user-7"),
        ("X --header authorization=planted --wait Y", "X --header authorization=- --wait Y"),
        ("X --header authorization=@token", "X --header authorization=@token"),
        ("X --header x-api-key=-", "X --header x-api-key=-"),
        ("trace --filter 'status:failed took:>5ms'", "trace --filter 'status:failed took:>5ms'"),
    ],
)
def test_secret_flags_are_left_out(line, expected):
    assert left(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        """LoginCommand --data '{"email": "a", "password": "planted"}'""",
        """LoginCommand --data='{"door": [{"pin": "planted"}]}'""",
        """LoginCommand --data '{"password": "planted\\'""",
        "trace --filter data.password=planted",
        "watch data.password:planted",
        "LoginCommand --wait 'X where password=planted'",
        """LoginCommand --data '{"password": "planted""",
        "X --header 'authorization: Bearer planted'",
        "X --header=authorization=planted",
    ],
)
def test_line_that_tells_a_secret_in_another_way_is_not_kept(line):
    assert left(line) is None
