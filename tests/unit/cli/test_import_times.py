"""How long the user's modules took to be imported."""

import importlib
import inspect
import sys

import pytest

from microlith_cli.import_times import ImportTimes


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Write modules, and import one of them under the clock; slow ones sleep."""
    root, elsewhere = tmp_path / "project", tmp_path / "project" / ".venv" / "lib" / "site-packages"
    elsewhere.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.syspath_prepend(str(elsewhere))
    before = set(sys.modules)

    def imported(name, **files):
        for module, text in files.items():
            folder = elsewhere if module.startswith("foreign") else root
            (folder / f"{module}.py").write_text(text, "utf-8")
        importlib.invalidate_caches()
        times = ImportTimes(root)
        with times.taken():
            importlib.import_module(name)
        return times.told()

    yield imported
    for name in set(sys.modules) - before:
        del sys.modules[name]


SLEEP = "import time\ntime.sleep({})\n"


def test_time_of_a_module_is_its_own_without_that_of_others_of_the_project(project):
    told = project(
        "timed_app", timed_app="import timed_slow\n" + SLEEP.format(0.05), timed_slow=SLEEP.format(0.2), other=""
    )

    slow, app = told["slowest"]
    assert (told["modules"], slow["module"], app["module"]) == (2, "timed_slow", "timed_app")
    assert slow["ms"] >= 200
    assert 50 <= app["ms"] < told["ms"] - 190
    assert "mostly" not in slow


def test_package_from_elsewhere_that_took_most_of_it_is_named(project):
    told = project(
        "timed_user",
        timed_user="import foreign_slow\nimport foreign_quick\n",
        foreign_slow="import foreign_within\n" + SLEEP.format(0.1),
        foreign_within=SLEEP.format(0.1),
        foreign_quick=SLEEP.format(0.01),
    )

    (row,) = told["slowest"]
    assert (row["module"], row["mostly"]) == ("timed_user", "foreign_slow")
    assert 200 <= row["mostly_ms"] <= row["ms"] == told["ms"]


def test_what_was_imported_is_as_it_would_be_without_a_clock(project):
    project("timed_plain", timed_plain="def answer():\n    return 42\n")

    module = sys.modules["timed_plain"]
    assert "return 42" in inspect.getsource(module.answer)
    assert "exec_module" not in vars(module.__loader__)
    assert not any(isinstance(finder, ImportTimes) for finder in sys.meta_path)


def test_module_that_raises_raises_and_is_timed(tmp_path, monkeypatch):
    (tmp_path / "timed_broken.py").write_text("import time\ntime.sleep(0.05)\n1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    times = ImportTimes(tmp_path)

    with pytest.raises(ZeroDivisionError), times.taken():
        importlib.import_module("timed_broken")

    assert times.told()["slowest"][0]["ms"] >= 50
    assert not any(isinstance(finder, ImportTimes) for finder in sys.meta_path)
