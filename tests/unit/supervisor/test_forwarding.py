"""Requests between clients and workers: passed on, held, carried on, refused."""

import asyncio
from typing import Any

import pytest

from microlith_cli.supervisor import forwarding as subject
from microlith_cli.supervisor.forwarding import Forwarding

DISPATCH = {"id": 1, "verb": "dispatch", "type": "X", "data": {}, "wait": ["Y"], "timeout": 5.0}
ACCEPTED = {"accepted": {"id": "m1"}}
END = {"end": True, "exit": 0}
Lines = list[dict[str, Any]]


class Answerer:
    """A worker that keeps what it is sent."""

    def __init__(self):
        self.lines = []

    def send(self, line):
        self.lines.append(line)


async def test_request_is_passed_on_under_its_own_key():
    forwarding, worker, replies = Forwarding(), Answerer(), Lines()
    forwarding.connect(worker)

    forwarding.ask("7.1", DISPATCH, replies.append)
    forwarding.take({"id": "7.1", **ACCEPTED})
    forwarding.take({"id": "7.1", **END})

    assert worker.lines[0]["id"] == "7.1"
    assert replies == [ACCEPTED, END]
    assert len(forwarding) == 0


async def test_dispatch_gets_its_message_id_here_whatever_the_client_says():
    forwarding, worker = Forwarding(), Answerer()
    forwarding.connect(worker)

    forwarding.ask("7.1", {**DISPATCH, "message_id": "mine"}, lambda line: None)

    assert len(worker.lines[0]["message_id"]) == 36


async def test_request_is_held_until_a_worker_serves():
    forwarding, worker = Forwarding(), Answerer()

    forwarding.ask("7.1", DISPATCH, lambda line: None)
    forwarding.connect(worker)

    assert [line["id"] for line in worker.lines] == ["7.1"]


async def test_request_that_a_worker_gave_back_is_asked_again_with_what_is_known():
    forwarding, old, new, replies = Forwarding(), Answerer(), Answerer(), Lines()
    forwarding.connect(old)
    forwarding.ask("7.1", DISPATCH, replies.append)
    forwarding.take({"id": "7.1", **ACCEPTED})

    forwarding.hold()
    forwarding.take({"id": "7.1", "end": True, "again": True})
    forwarding.lose()
    forwarding.connect(new)
    forwarding.take({"id": "7.1", **ACCEPTED})
    forwarding.take({"id": "7.1", **END})

    assert new.lines[0]["accepted"] is True
    assert new.lines[0]["message_id"] == old.lines[0]["message_id"]
    assert new.lines[0]["timeout"] <= 5.0
    assert new.lines[0]["timeout"] + new.lines[0]["waited"] == pytest.approx(5.0)
    assert replies == [ACCEPTED, END]


async def test_worker_that_stops_may_still_answer():
    forwarding, old, new, replies = Forwarding(), Answerer(), Answerer(), Lines()
    forwarding.connect(old)
    forwarding.ask("7.1", DISPATCH, replies.append)

    forwarding.hold()
    forwarding.take({"id": "7.1", **END})
    forwarding.lose()
    forwarding.connect(new)

    assert replies == [END]
    assert new.lines == []


async def test_request_of_a_worker_that_died_is_asked_of_the_next():
    forwarding, old, new = Forwarding(), Answerer(), Answerer()
    forwarding.connect(old)
    forwarding.ask("7.1", DISPATCH, lambda line: None)

    forwarding.lose()
    forwarding.connect(new)

    assert new.lines[0]["accepted"] is False


async def test_message_that_matched_before_is_not_shown_twice():
    forwarding, replies = Forwarding(), Lines()
    forwarding.connect(Answerer())
    forwarding.ask("7.1", DISPATCH, replies.append)

    for _ in range(2):
        forwarding.take({"id": "7.1", "matched": {"id": "m2"}})

    assert replies == [{"matched": {"id": "m2"}}]


async def test_everything_is_refused_at_once_while_nothing_serves():
    forwarding, held, late = Forwarding(), Lines(), Lines()
    forwarding.ask("7.1", DISPATCH, held.append)

    forwarding.refuse({"type": "SyntaxError", "message": "invalid syntax"})
    forwarding.ask("7.2", DISPATCH, late.append)

    assert held == late == [{"end": True, "exit": 4, "error": {"type": "SyntaxError", "message": "invalid syntax"}}]
    assert len(forwarding) == 0


async def test_client_that_has_gone_is_forgotten_and_its_request_cancelled():
    forwarding, worker = Forwarding(), Answerer()
    forwarding.connect(worker)
    forwarding.ask("7.1", DISPATCH, lambda line: None)

    forwarding.cancel("7.1")
    forwarding.take({"id": "7.1", **END})

    assert worker.lines[-1] == {"tell": "cancel", "id": "7.1"}
    assert len(forwarding) == 0


async def test_request_is_not_held_for_longer_than_it_may_wait():
    forwarding, answered = Forwarding(), asyncio.get_running_loop().create_future()

    forwarding.ask("7.1", {**DISPATCH, "timeout": 0.01}, answered.set_result)

    assert (await asyncio.wait_for(answered, 5))["exit"] == 3
    assert len(forwarding) == 0


async def test_held_requests_are_bounded(monkeypatch):
    monkeypatch.setattr(subject, "HELD_AT_MOST", 2)
    forwarding, replies = Forwarding(), Lines()

    for number in range(3):
        forwarding.ask(f"7.{number}", DISPATCH, replies.append)

    assert [reply["error"]["type"] for reply in replies] == ["TooManyError"]
    for number in range(3):
        forwarding.cancel(f"7.{number}")


async def test_last_dispatch_is_sent_again_with_its_headers_and_without_its_waits():
    forwarding, worker = Forwarding(), Answerer()
    forwarding.connect(worker)
    forwarding.ask("7.1", {**DISPATCH, "headers": {"principal": "user-7"}}, lambda line: None)

    assert forwarding.dispatch_again() == "X"

    again = worker.lines[-1]
    assert (again["headers"], "wait" in again) == ({"principal": "user-7"}, False)
    assert again["message_id"] != worker.lines[0]["message_id"]
