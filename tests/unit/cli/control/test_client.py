import socket

import pytest

from microlith_cli.control.client import RemoteSession
from microlith_cli.errors import (
    ConnectionLostError,
    NoAnswerError,
    NothingRunsError,
    WrongProtocolError,
)
from tests.unit.cli.control.channel import attached, in_thread


def served_by(answer: bytes | None) -> RemoteSession:
    """A session with something that says `answer`, or goes away at once when that is None."""
    left, right = socket.socketpair()
    with right:
        if answer is not None:
            right.sendall(answer)
        else:
            right.close()
        try:
            return RemoteSession(left, hello_seconds=0.1)
        finally:
            left.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", NoAnswerError),
        (b'{"hello": "microlith"', NoAnswerError),
        (b"220 smtp ready\r\n", WrongProtocolError),
        (b"[]\n", WrongProtocolError),
        (b'{"hello": "microlith", "protocol": 2}\n', WrongProtocolError),
        (b'{"end": true, "error": {"message": "full"}}\n', NothingRunsError),
        (None, ConnectionLostError),
    ],
)
def test_stranger_at_the_other_end_is_an_error_with_exit_code_4(answer, error):
    with pytest.raises(error) as caught:
        served_by(answer)

    assert caught.value.exit == 4


async def test_answerer_that_falls_silent_is_not_waited_for(control):
    def exchange():
        with attached(control) as session, pytest.raises(NoAnswerError):
            list(session.request({"verb": "hang"}, patience=0.1))

    await in_thread(exchange)
