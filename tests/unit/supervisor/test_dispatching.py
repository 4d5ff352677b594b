"""The dispatch verb: validation, waits, failures, facts, and being carried on by a successor."""

import asyncio
from typing import Any

import pytest

from microlith.ids import new_id
from microlith_cli.supervisor.worker import Worker
from tests.eventually import eventually
from tests.unit.runtime.shop import make_shop

OPEN = {"type": "OpenAccount", "data": {"email": "a@b.c"}}


Line = dict[str, Any]


def only(lines, key):
    """The values of one key, in the order of the lines."""
    return [line[key] for line in lines if key in line]


async def test_dispatch_answers_with_the_accepted_message(ask):
    lines = await ask("dispatch", **OPEN)

    (accepted,) = only(lines, "accepted")
    assert (accepted["type"], accepted["data"]["email"]) == ("OpenAccount", "a@b.c")
    assert lines[-1] == {"id": 7, "end": True, "exit": 0}


async def test_dispatch_masks_secrets_unless_told_to_reveal(ask):
    hidden = await ask("dispatch", **OPEN)
    shown = await ask("dispatch", **OPEN, reveal=True)

    assert only(hidden, "accepted")[0]["data"]["password"] == "***"
    assert only(shown, "accepted")[0]["data"]["password"] == "hunter22"


async def test_dispatch_ends_with_the_first_awaited_event(ask):
    lines = await ask("dispatch", **OPEN, wait=["OpenErrorRaised", "AccountOpenedEvent"])

    assert [message["type"] for message in only(lines, "matched")] == ["AccountOpenedEvent"]
    assert lines[-1]["exit"] == 0


async def test_dispatch_waits_for_every_event_when_asked_for_all(ask):
    lines = await ask("dispatch", **OPEN, wait=["WelcomeSentEvent", "AccountOpenedEvent"], all=True)

    assert {message["type"] for message in only(lines, "matched")} == {"AccountOpenedEvent", "WelcomeSentEvent"}
    assert lines[-1]["exit"] == 0


async def test_dispatch_ends_with_1_when_the_refused_event_comes(ask):
    await ask("dispatch", **OPEN, wait=["AccountOpenedEvent"])

    lines = await ask("dispatch", **OPEN, wait=["AccountOpenedEvent"], fail_on=["OpenErrorRaised"])

    assert [message["type"] for message in only(lines, "matched")] == ["OpenErrorRaised"]
    assert lines[-1]["exit"] == 1


async def test_dispatch_without_a_wait_still_notices_what_it_must_not_see(ask):
    await ask("dispatch", **OPEN, wait=["AccountOpenedEvent"])

    again = await ask("dispatch", **OPEN, fail_on=["OpenErrorRaised"])
    other = await ask("dispatch", type="OpenAccount", data={"email": "d@e.f"}, fail_on=["OpenErrorRaised"])

    assert [again[-1]["exit"], other[-1]["exit"]] == [1, 0]


async def test_dispatch_ends_with_the_error_of_the_handler(ask):
    lines = await ask("dispatch", type="FailCommand", data={"text": "no luck"}, wait=["SlowDoneEvent"])

    assert lines[-1]["exit"] == 1
    error = lines[-1]["error"]
    assert error["type"] == "HandlerFailedError"
    assert "no luck" in error["message"]
    assert error["file"].endswith("shop.py")


async def test_dispatch_that_times_out_says_what_did_happen(ask):
    lines = await ask("dispatch", **OPEN, wait=["SlowDoneEvent"], timeout=0.1)

    assert lines[-1]["exit"] == 3
    report = lines[-1]["report"]
    assert [message["type"] for message in report["arrived"]][:2] == ["OpenAccount", "AccountOpenedEvent"]
    assert report["missing"] == ["SlowDoneEvent"]
    assert report["could_emit"] == {"SlowDoneEvent": ["accounts.slow"]}


async def test_wait_that_another_worker_began_is_told_with_all_its_time(ask):
    identifier = new_id()
    await ask("dispatch", **OPEN, message_id=identifier, wait=["AccountOpenedEvent"])
    carried = {"message_id": identifier, "accepted": True, "timeout": 0.1, "waited": 7.9}

    lines = await ask("dispatch", **OPEN, **carried, wait=["SlowDoneEvent"])

    assert lines[-1]["exit"] == 3
    assert lines[-1]["error"]["message"].startswith("SlowDoneEvent did not come within 8 s ")


async def test_query_ends_with_its_response(ask):
    lines = await ask("dispatch", type="AccountCountRequest", data={})

    assert [message["data"]["count"] for message in only(lines, "matched")] == [0]
    assert lines[-1]["exit"] == 0


async def test_query_that_fails_ends_with_1(ask):
    lines = await ask("dispatch", type="AccountCountRequest", data={"email": "fail@b.c"})

    assert lines[-1]["exit"] == 1
    assert lines[-1]["error"]["type"] == "HandlerFailedError"


async def test_payload_that_does_not_fit_names_field_and_nearest_and_no_value(ask):
    lines = await ask("dispatch", type="OpenAccount", data={"emial": "secret-value"})

    assert lines[-1]["exit"] == 2
    problems = lines[-1]["error"]["problems"]
    assert {"field": "emial", "problem": "is not a field of this message", "nearest": "email"} in problems
    assert "secret-value" not in str(lines)


async def test_unknown_type_names_the_nearest(ask):
    lines = await ask("dispatch", type="OpenAcount", data={})

    assert lines[-1]["exit"] == 2
    assert "OpenAccount" in lines[-1]["error"]["hint"]


async def test_unknown_awaited_type_is_refused_before_anything_is_sent(ask):
    lines = await ask("dispatch", **OPEN, wait=["AccountOpendEvent"])
    later = await ask("dispatch", **OPEN, wait=["AccountOpenedEvent"])

    assert [line.get("exit") for line in lines] == [2]
    assert later[-1]["exit"] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": 3},
        {"type": "OpenAccount", "data": []},
        {**OPEN, "wait": "X"},
        {**OPEN, "wait": [3]},
        {**OPEN, "wait": ["AccountOpenedEvent"] * 101},
        {**OPEN, "timeout": 0},
        {**OPEN, "timeout": True},
        {**OPEN, "timeout": "5"},
        {**OPEN, "timeout": 1e9},
    ],
    ids=str,
)
async def test_request_that_makes_no_sense_is_refused(ask, wrong):
    lines = await ask("dispatch", **wrong)

    assert [line["exit"] for line in lines] == [2]


async def test_facts_of_the_correlation_come_before_the_end(ask):
    lines = await ask("dispatch", **OPEN, trace=True)

    kinds = [fact["type"] for fact in only(lines, "fact")]
    assert kinds.count("microlith.handled") == 2
    assert {"OpenAccount", "AccountOpenedEvent", "WelcomeSentEvent"} <= set(kinds)
    assert lines[-1] == {"id": 7, "end": True, "exit": 0}


async def test_facts_of_other_correlations_are_left_out(worker, ask):
    other = asyncio.create_task(ask("dispatch", type="OpenAccount", data={"email": "x@y.z"}, trace=True))

    lines = await ask("dispatch", **OPEN, trace=True)
    await other

    correlation = only(lines, "accepted")[0]["correlationid"]
    assert {fact["correlationid"] for fact in only(lines, "fact")} == {correlation}


async def test_traced_dispatch_without_a_wait_ends_with_1_when_a_handler_fails(ask):
    lines = await ask("dispatch", type="FailCommand", data={"text": "no luck"}, trace=True)

    assert lines[-1]["exit"] == 1
    assert "no luck" in lines[-1]["error"]["message"]


async def test_traced_dispatch_without_a_wait_times_out_while_handlers_run(ask):
    lines = await ask("dispatch", type="SlowCommand", data={"seconds": 30}, trace=True, timeout=0.1)

    assert lines[-1]["exit"] == 3
    assert "accounts.slow" in lines[-1]["error"]["message"]


async def test_dispatch_that_was_accepted_before_is_not_sent_again(ask, worker):
    identifier = new_id()
    first = await ask("dispatch", **OPEN, message_id=identifier, wait=["WelcomeSentEvent"])

    again = await ask("dispatch", **OPEN, message_id=identifier, accepted=True, wait=["AccountOpenedEvent"])

    assert first[-1]["exit"] == again[-1]["exit"] == 0
    assert [message["causationid"] for message in only(again, "matched")] == [identifier]


async def test_dispatch_that_may_have_been_accepted_is_sent_at_most_once(ask):
    identifier = new_id()
    await ask("dispatch", **OPEN, message_id=identifier, wait=["WelcomeSentEvent"])

    again = await ask("dispatch", **OPEN, message_id=identifier, accepted=False, wait=["AccountOpenedEvent"])
    other = await ask("dispatch", type="AccountCountRequest", data={})

    assert again[-1]["exit"] == 0
    assert only(other, "matched")[0]["data"]["count"] == 1


async def test_failure_before_a_hand_over_is_found_after_it(ask):
    identifier = new_id()
    await ask("dispatch", type="FailCommand", data={"text": "no luck"}, message_id=identifier, wait=["SlowDoneEvent"])

    again = await ask(
        "dispatch", type="FailCommand", data={"text": "-"}, message_id=identifier, accepted=True, wait=["SlowDoneEvent"]
    )

    assert again[-1]["exit"] == 1
    assert "no luck" in again[-1]["error"]["message"]


async def test_dispatch_under_way_at_a_stop_is_for_the_successor():
    worker = Worker(make_shop())
    await worker.start()
    lines: list[Line] = []
    request = {"id": 7, "verb": "dispatch", **OPEN, "wait": ["SlowDoneEvent"], "timeout": 60}
    asked = asyncio.create_task(worker.handle(request, lines.append))
    await eventually(lambda: lines)

    await worker.stop()
    await asked
    late: list[Line] = []
    await worker.handle(request, late.append)

    assert lines[-1] == late[-1] == {"id": 7, "end": True, "again": True}


async def test_nothing_is_left_of_a_dispatch_that_was_cancelled(worker):
    lines: list[Line] = []
    request = {"id": 7, "verb": "dispatch", **OPEN, "wait": ["SlowDoneEvent"], "timeout": 60, "trace": True}
    asked = asyncio.create_task(worker.handle(request, lines.append))
    await eventually(lambda: lines)

    asked.cancel()
    await asyncio.wait([asked])

    assert worker._app.waits == 0
    assert len(worker._app.tracer._followers) == 0


async def test_a_wait_with_a_condition_passes_over_what_does_not_meet_it(ask):
    met = await ask("dispatch", **OPEN, wait=['AccountOpenedEvent where email="a@b.c"'])
    other = await ask(
        "dispatch", type="OpenAccount", data={"email": "d@e.f"}, wait=["AccountOpenedEvent where email=x"], timeout=0.2
    )

    assert [met[-1]["exit"], other[-1]["exit"]] == [0, 3]
    assert [message["type"] for message in other[-1]["report"]["arrived"]][:2] == ["OpenAccount", "AccountOpenedEvent"]


async def test_a_refused_message_with_a_condition_refuses_only_what_meets_it(ask):
    await ask("dispatch", **OPEN)

    let_by = await ask("dispatch", **OPEN, fail_on=["OpenErrorRaised where email=x"])
    refused = await ask("dispatch", **OPEN, fail_on=["OpenErrorRaised where -email=x"])

    assert [let_by[-1]["exit"], refused[-1]["exit"]] == [0, 1]


@pytest.mark.parametrize(
    ("wait", "said"),
    [
        (["AccountOpenedEvent where frob:x"], "no field 'frob'"),
        (["AccountOpenedEvent where email=a", "AccountOpenedEvent where email=b"], "waited for twice"),
        (["Nope where email=a"], "Nope"),
    ],
)
async def test_a_condition_that_cannot_be_meant_is_refused_before_anything_is_sent(ask, wait, said):
    lines = await ask("dispatch", **OPEN, wait=wait)

    assert (lines[-1]["exit"], len(lines)) == (2, 1)
    assert said in lines[-1]["error"]["message"]


async def test_a_condition_sees_no_secret(ask):
    plain = await ask("dispatch", **OPEN, wait=["AccountOpenedEvent"], fail_on=["OpenAccount where password=hunter22"])
    masked = await ask("dispatch", **OPEN, fail_on=["OpenAccount where password=***"])

    assert [plain[-1]["exit"], masked[-1]["exit"]] == [0, 1]


async def test_quiet_for_waits_until_all_that_was_caused_is_done(ask):
    begun = asyncio.get_running_loop().time()

    lines = await ask("dispatch", **OPEN, wait=["AccountOpenedEvent"], quiet_for=0.1, trace=True)

    assert lines[-1]["exit"] == 0
    assert "WelcomeSentEvent" in [fact["type"] for fact in only(lines, "fact")]
    assert asyncio.get_running_loop().time() - begun >= 0.1


async def test_quiet_for_ends_with_3_when_it_is_never_quiet(ask):
    lines = await ask("dispatch", type="SlowCommand", data={"seconds": 5}, quiet_for=0.05, timeout=0.2)

    assert lines[-1]["exit"] == 3
    assert "accounts.slow" in lines[-1]["error"]["message"]


async def test_quiet_for_tells_a_failure_on_the_way(ask):
    lines = await ask("dispatch", type="FailCommand", data={"text": "no luck"}, quiet_for=0.05)

    assert (lines[-1]["exit"], lines[-1]["error"]["type"]) == (1, "HandlerFailedError")
