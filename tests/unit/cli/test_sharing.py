"""Processes that share a store: which url says so, and what their folders are called."""

from pathlib import Path

import pytest

from microlith.application.carriers import filled_url
from microlith_cli.config import Config, Setting
from microlith_cli.project import Project
from microlith_cli.sharing import says_shared, shares_store

SHARED = "postgresql://shop:pass@db/shop?shared=yes"


def config(url: str | None) -> Config:
    return Config({} if url is None else {"store.url": Setting(url, "here")}, {})


@pytest.mark.parametrize(
    ("url", "shared"),
    [
        (SHARED, True),
        ("postgresql://db/shop?schema=shop&shared=yes", True),
        ("postgresql://db/shop?shared=no", False),
        ("postgresql://db/shop?standby=yes", False),
        ("postgresql://db/shop?unshared=yes", False),
        ("postgresql://db/shared=yes", False),
        ("sqlite:events.db?shared=yes", False),
        ("memory:", False),
        (None, False),
    ],
)
def test_url_of_the_store_says_that_it_is_shared(url, shared):
    assert shares_store(config(url), {}) is shared


@pytest.mark.parametrize(
    "url",
    [
        "${STORE}",
        "postgresql://shop:${PASSWORD}@db/shop?shared=yes",
        "postgresql://db/shop?shared=${SHARED}",
        "postgresql://db/shop${OPTIONS}",
        "postgresql://shop:${PASSWORD}@db/shop?shared=no",
        "postgresql://db/shop?password=${PASSWORD}",
    ],
)
def test_variables_are_filled_in_as_the_runtime_does(url):
    environ = {"STORE": SHARED, "PASSWORD": "a?b@c/&shared=yes", "SHARED": "yes", "OPTIONS": "?shared=yes"}

    said = shares_store(config(url), environ)

    assert said is says_shared(filled_url("store", url, environ, options=True))
    assert said is ("shared=no" not in url and "password=" not in url)


def test_variable_that_is_not_set_is_for_the_runtime_to_complain_about():
    assert not shares_store(config("${STORE}"), {})


def make(*folders: Path) -> None:
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "control.lock").touch()


def test_folder_of_a_process_that_shares_is_no_component(tmp_path):
    project = Project(tmp_path, config(SHARED))
    state = project.state
    make(state, state / "stock", state / "stock.2", state / "stock.13", state / "auth", state / "2")
    (state / "stock.old").mkdir()

    assert project.parts == ["auth", "stock"]
    assert list(project.places("stock")) == ["stock", "stock.2", "stock.13"]
    assert project.places("auth") == {"auth": state / "auth"}
    assert list(project.places().values()) == [state, state / "2"]
    assert set(project.traces) == {state / name for name in ("", "2", "auth", "stock", "stock.2", "stock.13")}


def test_processes_of_one_component_are_named_by_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MICROLITH_COMPONENT", "stock")
    project = Project(tmp_path, config(SHARED))
    make(project.state, project.numbered(2).state)

    assert project.places() == {"stock": project.state, "stock.2": project.state.with_name("stock.2")}
    assert project.traces == list(project.places().values())
    assert (project.process, project.numbered(2).process, project.parts) == ("stock", "stock.2", [])


def test_processes_of_the_whole_application_are_named_by_the_project(tmp_path):
    folder = tmp_path / "web.shop"
    project = Project(folder, config(SHARED))
    make(project.state, project.numbered(2).state)

    assert project.places() == {"web-shop": folder / ".microlith", "web-shop.2": folder / ".microlith" / "2"}
    assert project.numbered(2).process == "web-shop.2"
