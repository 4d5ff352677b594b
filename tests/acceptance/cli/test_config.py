"""`microlith config`: what a project is set to, and by whom."""

import json

import pytest

from tests.acceptance.cli.light import heavy_imports
from tests.acceptance.cli.shop import Tool


def settings(tool: Tool, **env: str) -> dict[str, dict]:
    return {row["setting"]: row for row in tool("config", "--json", env=env).lines}


def test_every_setting_is_shown_with_its_origin(tool):
    ended = tool("config", env={"MICROLITH_STORE_URL": "sqlite:other.db"})

    assert (ended.code, ended.err) == (0, "")
    assert [line.split() for line in ended.out.splitlines()] == [
        ["app", "shop.app:app", "pyproject.toml"],
        ["store.url", "sqlite:other.db", "MICROLITH_STORE_URL"],
        ["buses.command", "memory:", "default"],
        ["buses.query", "memory:", "default"],
        ["buses.event", "memory:", "default"],
        ["otel", "false", "default"],
    ]


def test_a_store_that_nothing_sets_is_the_applications_own(tool):
    assert "store.url      as the application says  default\n" in tool("config").out
    assert settings(tool)["store.url"] == {
        "setting": "store.url",
        "value": None,
        "origin": "default",
        "variable": "MICROLITH_STORE_URL",
    }


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ada:planted@db/shop", "postgresql://ada:***@db/shop"),
        ("postgresql://ada:pl@nted:planted@db/shop", "postgresql://ada:***@db/shop"),
        ("postgresql://:planted@db", "postgresql://:***@db"),
        ("postgresql://ada@db/shop?sslpassword=planted&a=b", "postgresql://ada@db/shop?sslpassword=***&a=b"),
        ("sqlite:a.db?durability=fast", "sqlite:a.db?durability=fast"),
    ],
)
def test_passwords_in_urls_are_masked(tool, url, shown):
    ended = tool("config", env={"MICROLITH_STORE_URL": url})

    assert "planted" not in ended.out
    assert f" {shown} " in ended.out
    assert settings(tool, MICROLITH_STORE_URL=url)["store.url"]["value"] == shown


def test_a_refused_setting_does_not_tell_its_password(tool):
    ended = tool("config", "--json", env={"MICROLITH_EVENT_BUS": "kafak://ada:planted@broker"})

    assert (ended.code, "planted" in ended.out + ended.err) == (2, False)
    assert "kafak://ada:***@broker" in json.loads(ended.out)["error"]["message"]


def test_what_carries_each_bus_is_shown_without_passwords(tool):
    add_buses(tool, 'command = "rabbitmq://ada:planted@host/"\ntypes.LoginCommand = "memory:"')

    shown = settings(tool, MICROLITH_EVENT_BUS="kafka://host:9092")

    assert [(name, row["value"], row["origin"]) for name, row in shown.items() if name.startswith("buses.")] == [
        ("buses.command", "rabbitmq://ada:***@host/", "pyproject.toml"),
        ("buses.query", "memory:", "default"),
        ("buses.event", "kafka://host:9092", "MICROLITH_EVENT_BUS"),
        ("buses.types.LoginCommand", "memory:", "pyproject.toml"),
    ]


def test_a_variable_that_a_bus_needs_and_that_is_not_set_is_named(tool):
    add_buses(tool, 'command = "rabbitmq://ada:${PLANTED_PASSWORD}@host/"')

    ended = tool("broker", "setup", "--dry-run")

    assert ended.code == 2
    assert "PLANTED_PASSWORD, which the environment does not have" in ended.err


def test_a_type_that_is_none_cannot_be_carried(tool):
    add_buses(tool, 'types.LoginComand = "rabbitmq://host/"')

    ended = tool("broker", "setup", "--dry-run")

    assert ended.code == 2
    assert "'types.LoginComand'" in ended.err
    assert "Did you mean 'LoginCommand'?" in ended.err


def add_buses(tool: Tool, lines: str) -> None:
    path = tool.folder / "pyproject.toml"
    path.write_text(f"{path.read_text('utf-8')}\n[tool.microlith.buses]\n{lines}\n", "utf-8")


def test_settings_are_shown_whether_or_not_the_application_imports(tool):
    (tool.folder / "shop" / "app.py").write_text("raise SystemExit\n", "utf-8")

    assert tool("config").code == 0


def test_control_characters_in_a_setting_are_escaped(tool):
    assert r"sqlite:\x1b[31m\n" in tool("config", env={"MICROLITH_STORE_URL": "sqlite:\x1b[31m\n"}).out


def test_showing_settings_imports_nothing_heavy(tool):
    assert heavy_imports(tool, "config") == set()
