"""What a dispatch keeps of the facts it is told."""

from microlith_cli.commands.dispatch.kept import MOST_FACTS, MOST_MESSAGES, KeptFacts


def sent(number):
    return {"id": f"m{number}", "type": "DropEvent", "bus": "event", "handlers": 1}


def handled(number, outcome="ok"):
    return {
        "id": f"m{number}/h",
        "type": "microlith.handled",
        "causationid": f"m{number}",
        "data": {"outcome": outcome},
    }


def kept(*facts):
    found = KeptFacts()
    for fact in facts:
        found.add(fact)
    return found


def test_first_messages_are_kept_with_their_handlings_and_the_rest_is_counted():
    many = 4 * MOST_MESSAGES

    found = kept(*map(sent, range(many)), *map(handled, range(many)))

    assert list(found) == [*map(sent, range(MOST_MESSAGES)), *map(handled, range(MOST_MESSAGES))]
    assert found.left_out == 2 * (many - MOST_MESSAGES)


def test_failure_of_a_message_that_is_not_kept_is_kept():
    found = kept(*map(sent, range(MOST_MESSAGES + 1)), handled(MOST_MESSAGES, "failed"))

    assert found[-1] == handled(MOST_MESSAGES, "failed")


def test_there_is_a_bound_also_for_failures():
    found = kept(*(handled(number, "failed") for number in range(MOST_FACTS + 5)))

    assert (len(found), found.left_out) == (MOST_FACTS, 5)


def test_what_was_dropped_on_the_way_counts_and_is_no_fact():
    found = kept(sent(1), {"type": "microlith.dropped", "data": {"count": 7}})

    assert (list(found), found.left_out) == ([sent(1)], 7)
