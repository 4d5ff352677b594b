"""Where the tool looks for a process of some components is where such a process keeps its things."""

from pathlib import Path

import pytest

from microlith import transports
from microlith.places import folder_name, placed, store_beside
from microlith_cli import config
from microlith_cli.config import Config
from microlith_cli.errors import ConfigError
from microlith_cli.project import Project


@pytest.mark.parametrize("said", ["auth", "stock,auth", " auth , stock ", ""])
def test_tool_and_runtime_mean_the_same_place(said, monkeypatch):
    monkeypatch.setenv("MICROLITH_COMPONENT", said)
    project = Project(Path("/shop"), Config({}, {}))

    state = project.state

    names = placed()
    store = store_beside("sqlite:.microlith/events.db", names).removeprefix("sqlite:")
    assert Path("/shop", store).parent == state
    assert state.name == (folder_name(names) or ".microlith")


def test_store_in_a_database_has_a_schema_of_its_own():
    url = store_beside("postgresql://shop@db/shop?durability=fast", ["stock", "auth"])

    assert url == "postgresql://shop@db/shop?durability=fast&schema=microlith_auth_stock"


def test_name_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv("MICROLITH_COMPONENT", "../elsewhere")

    with pytest.raises(ConfigError, match="no name of a component"):
        Project(Path("/shop"), Config({}, {})).state  # noqa: B018 (it is what raises)


def test_tool_and_runtime_know_the_same_transports():
    assert (config.IN_PROCESS, config.SCHEMES) == (transports.IN_PROCESS, transports.SCHEMES)
