"""Headers as they are given on the command line."""

import io
import sys

import pytest

from microlith_cli.errors import UsageError
from microlith_cli.headers import LONGEST, MOST, read_headers


@pytest.fixture
def stdin(monkeypatch):
    def give(raw: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw), "utf-8"))

    return give


def test_values_keep_everything_behind_the_first_sign():
    assert read_headers(["principal=user-7", "tracestate=a=1,b=2"]) == {"principal": "user-7", "tracestate": "a=1,b=2"}


def test_value_is_read_from_a_file_without_its_last_line_break(tmp_path):
    (tmp_path / "token").write_text("Bearer größer\r\n", "utf-8")

    assert read_headers([f"authorization=@{tmp_path / 'token'}"]) == {"authorization": "Bearer größer"}


def test_value_is_the_first_line_of_stdin_which_goes_on_behind_it(stdin):
    stdin(b"Bearer planted\nthe rest\n")

    assert read_headers(["authorization=-"]) == {"authorization": "Bearer planted"}
    assert sys.stdin.buffer.readline() == b"the rest\n"


@pytest.mark.parametrize("given", [["a=-", "b=-"], ["a=-"]])
def test_stdin_is_read_for_one_thing_alone(stdin, given):
    stdin(b"one\ntwo\n")

    with pytest.raises(UsageError, match="stdin is read once"):
        read_headers(given, data="-" if len(given) == 1 else None)


@pytest.mark.parametrize(
    "word",
    ["planted", "authorization: Bearer planted", "authorization: Bearer planted==", "=planted", "a b=planted", "ü=1"],
)
def test_what_is_no_name_with_a_value_is_refused_and_not_repeated(word):
    with pytest.raises(UsageError, match="takes NAME=VALUE") as caught:
        read_headers([word])

    assert "planted" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("value", ["", "planted\n", "a\x1b[31mplanted", "planted\udcff", "planted" * LONGEST])
def test_value_that_is_no_line_of_text_is_refused_and_not_repeated(value):
    with pytest.raises(UsageError, match="The header a ") as caught:
        read_headers([f"a={value}"])

    assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "problem"), [(b"\xff", "not UTF-8 at byte 0"), (b"a\nb\n", "not one line"), (b"", "is empty")]
)
def test_file_that_holds_no_line_of_text_is_refused(tmp_path, raw, problem):
    (tmp_path / "token").write_bytes(raw)

    with pytest.raises(UsageError, match=problem):
        read_headers([f"a=@{tmp_path / 'token'}"])


def test_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"a=@.*nowhere: No such file"):
        read_headers([f"a=@{tmp_path / 'nowhere'}"])


def test_header_that_comes_twice_and_too_many_of_them_are_refused():
    with pytest.raises(UsageError, match="a was given twice"):
        read_headers(["a=1", "a=2"])
    with pytest.raises(UsageError, match=f"at most {MOST}"):
        read_headers([f"h{number}=1" for number in range(MOST + 1)])


def test_secret_in_the_arguments_is_spoken_of_and_one_from_a_file_is_not(tmp_path, capsys):
    (tmp_path / "token").write_text("planted", "utf-8")

    read_headers([f"authorization=@{tmp_path / 'token'}", "principal=user-7"])
    assert capsys.readouterr().err == ""

    read_headers(["Authorization=planted"])
    assert capsys.readouterr().err.startswith("Authorization stands in the arguments")
