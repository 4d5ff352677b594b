"""Templates are found, filled in completely, and refused where a value is missing."""

import ast
import tomllib

import jinja2
import pytest

import microlith_cli
from microlith_cli.scaffolding import kinds, rendering
from microlith_cli.scaffolding.errors import TemplatesMissingError
from microlith_cli.scaffolding.rendering import render, template_root


def test_templates_are_found_in_this_checkout():
    assert (template_root() / "auth").is_dir()


def test_templates_in_the_tool_come_before_those_beside_it(tmp_path, monkeypatch):
    for folder in ("tool/templates", "templates"):
        (tmp_path / folder / "app").mkdir(parents=True)
        (tmp_path / folder / "app/pyproject.toml.jinja").touch()
    monkeypatch.setattr(microlith_cli, "__file__", str(tmp_path / "tool/__init__.py"))

    assert template_root() == tmp_path / "tool/templates"


def test_missing_templates_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr(microlith_cli, "__file__", str(tmp_path / "tool/__init__.py"))

    with pytest.raises(TemplatesMissingError):
        template_root()


def test_missing_value_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "kind").mkdir()
    (tmp_path / "kind/a.py.jinja").write_text("{{ nothing }}", "utf-8")
    monkeypatch.setattr(rendering, "template_root", lambda: tmp_path)

    with pytest.raises(jinja2.UndefinedError):
        render("kind", {})


@pytest.mark.parametrize("bare", [True, False])
def test_every_file_of_an_application_is_whole(bare):
    files = kinds.app("shop", bare=bare).files

    for path, text in files.items():
        assert "{{" not in path + text
        assert not text or text.endswith("\n")
        if path.endswith(".py"):
            assert ast.get_docstring(ast.parse(text)), path
    assert tomllib.loads(files["pyproject.toml"])["tool"]["microlith"]["app"] == "shop.app:app"
    assert ".microlith/" in files[".gitignore"].splitlines()


def test_bare_application_has_no_component():
    files = kinds.app("shop", bare=True).files

    assert sorted(path for path in files if path.startswith("shop/")) == ["shop/__init__.py", "shop/app.py"]
    assert "argon2" not in files["pyproject.toml"]
