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
    ended = tool("config", "--json", env={"MICROLITH_EVENT_BUS": "kafka://ada:planted@broker"})

    assert (ended.code, "planted" in ended.out + ended.err) == (2, False)
    assert "kafka://ada:***@broker" in json.loads(ended.out)["error"]["message"]


def test_settings_are_shown_whether_or_not_the_application_imports(tool):
    (tool.folder / "shop" / "app.py").write_text("raise SystemExit\n", "utf-8")

    assert tool("config").code == 0


def test_control_characters_in_a_setting_are_escaped(tool):
    assert r"sqlite:\x1b[31m\n" in tool("config", env={"MICROLITH_STORE_URL": "sqlite:\x1b[31m\n"}).out


def test_showing_settings_imports_nothing_heavy(tool):
    assert heavy_imports(tool, "config") == set()
