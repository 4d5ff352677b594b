"""The file of earlier lines."""

import stat

import pytest

from microlith_cli.shell.history import FILE, History


@pytest.fixture
def state(tmp_path):
    return tmp_path / ".microlith"


def test_lines_come_back_in_their_order(state):
    first = History(state)
    for line in ("one", "two", "two", " ", "drei größer"):
        first.add(line)

    assert History(state).lines == ["one", "two", "drei größer"]
    assert stat.S_IMODE((state / FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_mode_of_a_file_that_others_may_read_is_mended(state):
    state.mkdir(mode=0o700)
    (state / FILE).write_text("one\n")
    (state / FILE).chmod(0o644)

    History(state).add("two")

    assert stat.S_IMODE((state / FILE).stat().st_mode) == 0o600
    assert History(state).lines == ["one", "two"]


def test_two_shells_keep_the_lines_of_both(state):
    first, second = History(state), History(state)
    first.add("one")
    second.add("two")

    assert History(state).lines == ["one", "two"]


def test_file_does_not_grow_without_end(state):
    state.mkdir(mode=0o700)
    (state / FILE).write_text("".join(f"line {number}\n" for number in range(2001)))

    assert len(History(state).lines) == 1000
    assert (state / FILE).read_text().splitlines() == [f"line {number}" for number in range(1001, 2001)]


def test_control_characters_never_come_back(state):
    state.mkdir(mode=0o700)
    (state / FILE).write_bytes(b"\x1b]0;x\x07\none\n\xff\n")
    history = History(state)
    history.add("a\x1b[2J")

    assert history.lines[0] == "one"
    assert not any("\x1b" in line for line in history.lines)


def test_link_is_not_followed(state, tmp_path):
    state.mkdir(mode=0o700)
    (tmp_path / "elsewhere").write_text("mine\n")
    (state / FILE).symlink_to(tmp_path / "elsewhere")

    history = History(state)
    history.add("one")

    assert history.trouble
    assert history.lines == ["one"]
    assert (tmp_path / "elsewhere").read_text() == "mine\n"


def test_directory_of_others_is_not_used(state):
    state.mkdir()
    state.chmod(0o777)
    history = History(state)
    history.add("one")

    assert "Other users may write" in history.trouble
    assert not (state / FILE).exists()
