"""What a component may import of another one, judged by its files."""

import warnings
from pathlib import Path

import pytest

from microlith_cli.boundaries import Sources

FILES = {
    "shop/__init__.py": "",
    "shop/app.py": "from shop.auth.handlers.login import login\n",
    "shop/shared.py": "from shop.auth.projections.users import User\nfrom shop.auth.events.all import LoggedIn\n",
    "shop/auth/__init__.py": (
        'from microlith import Component\nfrom shop.auth.commands.all import Login\n\nauth = Component("auth")\n'
    ),
    "shop/auth/commands/__init__.py": "",
    "shop/auth/commands/all.py": "from microlith import Command\n\n\nclass Login(Command):\n    pass\n",
    "shop/auth/events/__init__.py": "",
    "shop/auth/events/all.py": "import microlith\n\n\nclass LoggedIn(microlith.Event):\n    pass\n",
    "shop/auth/handlers/__init__.py": "",
    "shop/auth/handlers/login.py": "from shop.auth.projections.users import User\n",
    "shop/auth/projections/__init__.py": "",
    "shop/auth/projections/users.py": "class User:\n    pass\n",
    "shop/auth/contract.py": (
        "from microlith import Query as Asks\nfrom shop.auth.events.all import LoggedIn\n\n\n"
        "class Ask(Asks[int]):\n    pass\n\n\nclass AskMore(Ask):\n    pass\n\n\nclass Other:\n    pass\n"
    ),
    "shop/billing/__init__.py": 'import microlith\n\nbilling = microlith.Component(name="billing")\n',
}


def write(root: Path, line: str, more: dict[str, str] | None = None) -> Sources:
    for name, text in {**FILES, "shop/billing/pay.py": f"{line}\n", **(more or {})}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return Sources(root, root)


@pytest.mark.parametrize(
    "line",
    [
        "from shop.auth.commands.all import Login",
        "from shop.auth.commands import all",
        "from shop.auth.commands.all import *",
        "from ..auth.events import all as events",
        "import shop.auth.events.all",
        "from shop.auth import Login",
        "from shop.auth import events",
        "from shop.auth.contract import Ask, AskMore, LoggedIn",
        "from shop.shared import LoggedIn",
        "from shop.billing import billing",
        "from . import billing",
        "import shop",
        "import json, pydantic.fields",
        "from importlib import import_module; import_module(name)",
    ],
)
def test_messages_and_own_parts_may_be_imported(tmp_path, line):
    assert list(write(tmp_path, line).crossings()) == []


@pytest.mark.parametrize(
    ("line", "imported"),
    [
        ("from shop.auth.projections.users import User", "shop.auth.projections.users.User"),
        ("from ..auth.handlers import login", "shop.auth.handlers.login"),
        ("import shop.auth.handlers.login as x", "shop.auth.handlers.login"),
        ("import shop.auth", "shop.auth"),
        ("from shop import auth", "shop.auth"),
        ("from shop.auth import auth", "shop.auth.auth"),
        ("from shop.auth import *", "shop.auth.*"),
        ("from shop.auth.contract import Other", "shop.auth.contract.Other"),
        ("from shop.shared import User", "shop.auth.projections.users.User"),
        ("def f():\n    from shop.auth import auth", "shop.auth.auth"),
        ("import importlib; importlib.import_module('shop.auth.handlers.login')", "shop.auth.handlers.login"),
    ],
)
def test_everything_else_of_another_component_is_found(tmp_path, line, imported):
    (found,) = write(tmp_path, line).crossings()

    assert (found.file, found.line) == ("shop/billing/pay.py", line.count("\n") + 1)
    assert (found.component, found.owner, found.imported) == ("billing", "auth", imported)


def test_what_to_do_fits_what_was_imported(tmp_path):
    line = "from shop.auth.handlers.login import login\nfrom shop.auth.projections.users import User"

    fixes = [found.fix for found in write(tmp_path, line).crossings()]

    assert fixes == [
        "dispatch the message that it handles",
        "ask auth with a query, or keep a read model of your own from its events",
    ]


def test_a_component_in_one_module_is_one_too(tmp_path):
    more = {
        "shop/stock.py": (
            'from microlith import Component, Event\n\nstock = Component("stock")\n\n\nclass Counted(Event):\n    pass\n'
        )
    }

    found = list(write(tmp_path, "from shop.stock import Counted, stock", more).crossings())

    assert [each.imported for each in found] == ["shop.stock.stock"]


def test_modules_that_pass_names_in_a_circle_end(tmp_path):
    more = {"shop/a.py": "from shop.b import X\n", "shop/b.py": "from shop.a import X\n"}

    assert list(write(tmp_path, "from shop.a import X", more).crossings()) == []


def test_tests_and_folders_that_are_no_packages_are_left_alone(tmp_path):
    more = {
        "tests/__init__.py": "",
        "tests/test_x.py": "from shop.auth.handlers.login import login",
        ".venv/x.py": "x",
        "docs/y.py": "(",
    }

    sources = write(tmp_path, "", more)

    assert {name.partition(".")[0] for name in sources.files} == {"shop"}


@pytest.mark.parametrize(
    ("text", "said"),
    [("x = (", "SyntaxError"), ("\0", "null bytes"), ("# coding: nonsense\n", "unknown encoding")],
)
def test_a_file_that_cannot_be_read_is_found(tmp_path, text, said):
    (found,) = write(tmp_path, text).crossings()

    assert (found.file, found.owner) == ("shop/billing/pay.py", "")
    assert said in found.imported


def test_a_doubtful_escape_warns_nobody(tmp_path):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")

        assert list(write(tmp_path, r"x = '\d'").crossings()) == []

    assert warned == []
