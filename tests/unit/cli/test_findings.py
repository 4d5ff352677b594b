import socket

import pytest

from microlith_cli.diagnosis import findings


@pytest.mark.parametrize(
    ("engine", "level"), [("SQLite 3.51.2", "note"), ("SQLite 3.51.3", "ok"), ("SQLite 3.60", "ok")]
)
def test_an_old_sqlite_is_noted(engine, level):
    assert [found.level for found in findings.engine(engine)] == [level]


def test_another_engine_is_no_sqlite():
    assert list(findings.engine("memory")) == []


def test_a_large_write_ahead_log_is_a_warning(tmp_path):
    (tmp_path / "events.db").touch()
    with (tmp_path / "events.db-wal").open("wb") as log:
        log.truncate(findings.LARGEST_WAL + 1)

    assert [found.level for found in findings.file(tmp_path / "events.db", 0)] == ["ok", "warning"]


@pytest.mark.parametrize(("runs", "level"), [(True, "warning"), (False, "note")])
def test_a_projection_that_lags_is_caught_up_at_the_next_start(runs, level):
    rows = [
        {"name": "auth.users", "checkpoint": 4, "error": None},
        {"name": "auth.new", "checkpoint": 9, "error": None},
    ]

    (found,) = findings.projections(rows, 9, runs=runs)

    assert (found.level, found.what) == (level, "auth.users is 5 events behind")


def test_the_error_of_a_stopped_projection_is_one_line():
    rows = [{"name": "auth.users", "checkpoint": 4, "error": "ValidationError: 1 error\nout\n  Missing"}]

    (found,) = findings.projections(rows, 9, runs=True)

    assert found.what == "auth.users stopped before position 5: ValidationError: 1 error out Missing"


@pytest.mark.parametrize(
    ("url", "path"),
    [("sqlite:a/b.db", "a/b.db"), ("sqlite:/c.db?durability=fast", "/c.db"), ("memory:", None), ("sqlite:", None)],
)
def test_store_path_is_the_file_that_a_url_names(tmp_path, url, path):
    assert findings.store_path(url, tmp_path) == (None if path is None else tmp_path / path)


def test_one_of_a_thing_is_told_as_one():
    (lag,) = findings.projections([{"name": "auth.users", "checkpoint": 8, "error": None}], 9, runs=True)
    (all_well,) = findings.projections([{"name": "auth.users", "checkpoint": 9, "error": None}], 9, runs=True)
    (snapshots,) = findings.snapshots(1, [], "events.db")
    (events,) = findings.database("postgresql://host/shop", 1)

    assert [found.what for found in (lag, all_well, snapshots, events)] == [
        "auth.users is 1 event behind",
        "1 projection, all up to the newest event",
        "1 snapshot matches its checksum and its stream",
        "1 event",
    ]


def test_a_folder_that_others_may_look_into_is_a_warning(tmp_path):
    tmp_path.chmod(0o750)

    found = findings.directory(tmp_path)

    assert (found.level, found.fix) == ("warning", "chmod 700 .microlith")


def test_spans_that_somebody_takes_are_well():
    with socket.create_server(("127.0.0.1", 0)) as receiver:
        found = findings.spans(f"http://127.0.0.1:{receiver.getsockname()[1]}")

    assert (found.code, found.level) == ("ML016", "ok")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://", "http://[", "http://127.0.0.1:99999"])
def test_spans_that_nobody_takes_are_a_warning(url):
    assert findings.spans(url).level == "warning"


def test_spans_need_the_extra(monkeypatch):
    monkeypatch.setattr(findings, "EXPORTER", "no-such-exporter")

    found = findings.spans("http://127.0.0.1:1")

    assert (found.level, found.fix) == ("error", 'pip install "microlith[otel]"')
