"""A change of the stored format is never made unnoticed: the corpus gets a log of each."""

from tests.corpus.stored_format import LOGS, fingerprint


async def test_the_corpus_holds_a_log_of_the_format_that_is_written_now(tmp_path):
    now = f"format-{await fingerprint(tmp_path)}"

    assert now in {folder.name for folder in LOGS.iterdir()}, (
        "The stored format changed. See that logs of the old one still open (tests/corpus/test_corpus.py), then run "
        "`python -m tests.corpus.make` and commit the folder it adds."
    )


async def test_the_fingerprint_is_the_same_each_time_and_feels_a_change_of_the_bytes(tmp_path, monkeypatch):
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    first, second = await fingerprint(tmp_path / "one"), await fingerprint(tmp_path / "two")
    monkeypatch.setattr("microlith.event_store.database.store.write_stream", lambda stream: f'[ "{stream}",')
    third = await fingerprint(tmp_path / "three")

    assert first == second != third
