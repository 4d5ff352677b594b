import subprocess
import sys
from pathlib import Path

import pytest

from microlith_cli.config import read_config
from microlith_cli.errors import ConfigError, NoProjectError
from microlith_cli.project import find_project

HEAD = '[tool.microlith]\napp = "shop.app:app"\n'


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return root


def test_project_is_the_nearest_one_upward(tmp_path):
    write(tmp_path, {"pyproject.toml": HEAD, "inner/pyproject.toml": "[project]\nname = 'x'\n", "inner/deep/x.py": ""})

    project = find_project(tmp_path / "inner" / "deep")

    assert project.root == tmp_path
    assert project.state == tmp_path / ".microlith"
    assert (project.app, project.name) == ("shop.app:app", tmp_path.name)


def test_where_there_is_no_project_it_says_where_it_looked(tmp_path):
    write(tmp_path, {"pyproject.toml": "[project]\nname = 'x'\n"})

    with pytest.raises(NoProjectError) as caught:
        find_project(tmp_path)

    assert str(tmp_path) in str(caught.value)
    assert "microlith new app" in caught.value.hint


@pytest.mark.parametrize("text", ["[tool.microlith", "a = 1\na = 2", "[" * 5000, "\x00"])
def test_pyproject_that_is_not_toml_is_an_error_with_a_place(tmp_path, text):
    write(tmp_path, {"pyproject.toml": text})

    with pytest.raises(ConfigError, match="is not TOML"):
        find_project(tmp_path)


def test_pyproject_that_is_not_utf8_is_an_error(tmp_path):
    (tmp_path / "pyproject.toml").write_bytes(b'[tool.microlith]\napp = "\xff"')

    with pytest.raises(ConfigError, match="not UTF-8"):
        find_project(tmp_path)


@pytest.mark.parametrize("app", ['""', '"shop"', '"shop.app:"', '"shop.app:app()"', '"../x:app"', "5", "true"])
def test_app_that_names_no_application_is_an_error(tmp_path, app):
    write(tmp_path, {"pyproject.toml": f"[tool.microlith]\napp = {app}\n"})

    with pytest.raises(ConfigError):
        find_project(tmp_path).app  # noqa: B018 (reading it checks it)


def test_environment_overrides_the_file_and_each_value_knows_its_origin(tmp_path):
    write(tmp_path, {"pyproject.toml": HEAD + '[tool.microlith.store]\nurl = "memory:"\n'})

    config = read_config(
        tmp_path / "pyproject.toml", {"MICROLITH_APP": "other:app", "MICROLITH_EVENT_BUS": "", "HOME": "x"}
    )

    assert (config.get("app"), config.origin("app")) == ("other:app", "MICROLITH_APP")
    assert (config.get("store.url"), config.origin("store.url")) == ("memory:", "pyproject.toml")
    assert (config.get("buses.event", "memory:"), config.origin("buses.event")) == ("memory:", "default")


@pytest.mark.parametrize(
    ("text", "environment", "said", "hint"),
    [
        ("ap = 'x:app'", {}, "There is no setting 'ap' (in pyproject.toml", "Did you mean 'app'?"),
        ("[tool.microlith.store]\nulr = 'memory:'", {}, "no setting 'store.ulr'", "Did you mean 'store.url'?"),
        ("[tool.microlith.buses]\nevnet = 'memory:'", {}, "no setting 'buses.evnet'", "Did you mean 'buses.event'?"),
        ("[tool.microlith.buses]\nevent = 'kafak://x'", {}, "buses.event is 'kafak://x'", "mean 'kafka://HOST/'?"),
        ("[tool.microlith.buses]\nevent = 'kafka:x'", {}, "buses.event is 'kafka:x'", "mean 'kafka://HOST/'?"),
        ("[tool.microlith.buses]\nevent = 'memory://x'", {}, "buses.event is 'memory://x'", "mean 'memory:'?"),
        ("[tool.microlith.buses]\nevent = 'redis://x'", {}, "names no transport", "begins with rabbitmq://,"),
        ("[tool.microlith.buses]\nevent = true", {}, "buses.event is True", "begins with rabbitmq://,"),
        ("[tool.microlith.buses.types]\nSay = 'x'", {}, "buses.types.Say is 'x'", "begins with rabbitmq://,"),
        ("", {"MICROLITH_COMMAND_BUS": "amqp://x"}, "set by MICROLITH_COMMAND_BUS", "begins with rabbitmq://,"),
    ],
)
def test_setting_that_nothing_would_obey_is_an_error(tmp_path, text, environment, said, hint):
    write(tmp_path, {"pyproject.toml": f"[tool.microlith]\n{text}\n"})

    with pytest.raises(ConfigError) as caught:
        read_config(tmp_path / "pyproject.toml", environment)

    assert said in str(caught.value)
    assert hint in caught.value.hint


def test_buses_are_read_as_an_application_takes_them(tmp_path):
    buses = """
[tool.microlith.buses]
command = "rabbitmq://shop:${PASSWORD}@host/"
query = "memory:"
types.LoginCommand = "rabbitmqs://other/"
types."auth.LogoutCommand" = "memory:"
"""
    write(tmp_path, {"pyproject.toml": HEAD + buses})

    config = read_config(tmp_path / "pyproject.toml", {"MICROLITH_EVENT_BUS": "kafka://host:9092"})

    assert config.buses == {
        "command": "rabbitmq://shop:${PASSWORD}@host/",
        "query": "memory:",
        "event": "kafka://host:9092",
        "types.LoginCommand": "rabbitmqs://other/",
        "types.auth.LogoutCommand": "memory:",
    }


LOAD = """
import sys
from pathlib import Path
from microlith_cli.errors import AppLoadError
from microlith_cli.project import find_project, load_app
try:
    app = load_app(find_project(Path(sys.argv[1])))
    print(app.name)
    print(app.store_url)
except AppLoadError as error:
    print(error)
    print(error.hint)
    print(error.as_dict()["source"])
"""


def load(root: Path) -> list[str]:
    """Load a project's application in a process of its own; gives its name and store, or error, hint, source line."""
    ended = subprocess.run([sys.executable, "-c", LOAD, root], capture_output=True, text=True, check=True)
    return ended.stdout.splitlines()


GOOD = 'from microlith import Microlith\n\napp = Microlith("shop", components=[])\n'


def test_app_is_loaded_from_a_path_with_spaces_and_umlauts(tmp_path):
    root = write(tmp_path / "mein größtes Projekt", {"pyproject.toml": HEAD, "shop/app.py": GOOD})

    assert load(root) == ["shop", "sqlite:.microlith/events.db"]


def test_store_of_the_settings_is_the_one_that_is_used(tmp_path):
    settings = HEAD + '[tool.microlith.store]\nurl = "memory:"\n'
    root = write(tmp_path, {"pyproject.toml": settings, "shop/app.py": GOOD})

    assert load(root) == ["shop", "memory:"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"shop/app.py": "import shop.parts\n", "shop/parts.py": "x = 1\ny = x +* 2\n"},
            ["shop/parts.py:2: SyntaxError: invalid syntax", "", "y = x +* 2"],
        ),
        (
            {"shop/app.py": "import shop.parts\n", "shop/parts.py": "def f():\n    return 1 / 0\n\nf()\n"},
            ["shop/parts.py:2: ZeroDivisionError: division by zero", "", "return 1 / 0"],
        ),
        (
            {"shop/app.py": "from shop.parts import nothing\n", "shop/parts.py": ""},
            ["shop/app.py:1: ImportError: cannot import name 'nothing' from 'shop.parts'"],
        ),
        (
            {"shop/app.py": "import some_client\n"},
            ["shop/app.py:1: ModuleNotFoundError: No module named 'some_client'", "pip install -e ."],
        ),
        (
            {"shop/app.py": "import undeclared_client\n"},
            ["shop/app.py:1: ModuleNotFoundError", "Install 'undeclared_client' and declare it"],
        ),
        (
            {"shop/app.py": "import shop.prats\n"},
            ["shop/app.py:1: ModuleNotFoundError: No module named 'shop.prats'", "misspelt"],
        ),
        ({"shopp/__init__.py": ""}, ["There is no module 'shop'", "Did you mean 'shopp'?"]),
        ({"shop/other.py": ""}, ["There is no module 'shop.app'"]),
        (
            {"shop/app.py": GOOD.replace("app =", "shop =")},
            ["has no Microlith named 'app'", "Set app = 'shop.app:shop'"],
        ),
        ({"shop/app.py": "app = 5\n"}, ["has no Microlith named 'app'", "Define app = Microlith(...)"]),
        ({"shop/app.py": "raise SystemExit(3)\n"}, ["shop/app.py:1: SystemExit: 3"]),
    ],
)
def test_app_that_does_not_load_is_told_by_its_own_file_and_line(tmp_path, files, said):
    head = '[project]\nname = "shop"\ndependencies = ["some-client[extra]>=1; python_version > \'3\'"]\n' + HEAD

    lines = load(write(tmp_path, {"pyproject.toml": head, **files}))

    assert len(lines) == 3
    for line, part in zip(lines, said, strict=False):
        assert part in line
