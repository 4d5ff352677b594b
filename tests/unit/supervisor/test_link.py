"""The link and the way to the screen: what is sent arrives, and a slow reader stops nobody."""

import asyncio
import socket
import threading

from microlith_cli.supervisor.link import Link
from microlith_cli.supervisor.showing import FACTS_AT_MOST, Showing


async def linked() -> tuple[Link, Link]:
    ours, theirs = socket.socketpair()
    return await Link.over(ours), await Link.over(theirs)


async def test_lines_arrive_in_order_until_the_other_end_closes():
    one, other = await linked()

    one.send({"n": 1, "text": "é\n\ud800"})
    one.send({"n": 2})
    one.close()

    assert [line["n"] async for line in other.lines()] == [1, 2]
    other.close()


async def test_what_is_sent_after_the_other_end_has_gone_is_dropped():
    one, other = await linked()
    other.close()

    assert [line async for line in one.lines()] == []
    one.send({"n": 1})
    await one.send_facts([{"n": 2}])
    one.close()


async def test_facts_wait_for_a_slow_reader():
    one, other = await linked()
    facts = [{"text": "x" * 1000, "n": number} for number in range(5_000)]

    sending = asyncio.create_task(one.send_facts(facts))
    await asyncio.sleep(0.05)
    waited = not sending.done()
    read = []
    async for line in other.lines():
        read += line["facts"]
        if len(read) == len(facts):
            break
    await sending
    one.close()
    other.close()

    assert waited
    assert read == facts


class Screen:
    """Keeps what it is shown. Stands still, or breaks, when told to."""

    def __init__(self):
        self.shown = []
        self.moves = threading.Event()
        self.moves.set()
        self.error = None

    def _show(self, thing):
        self.moves.wait(10)
        if self.error is not None:
            raise self.error
        self.shown.append(thing)

    def card(self, card):
        self._show(card)

    def facts(self, facts):
        self._show(list(facts))

    def note(self, text):
        self._show(text)

    def failed(self, error, meanwhile):
        self._show((error, meanwhile))

    def output(self, stream, line):
        self._show((stream, line))

    def prompt(self, text):
        self._show(text)

    def expand(self, expanded):
        self._show(expanded)

    def close(self):
        self._show("closed")


async def test_everything_is_shown_in_order_before_the_end():
    screen = Screen()
    showing = Showing(screen, lambda error: None)

    showing.card({"app": "shop"})
    showing.output("stderr", "hello")
    showing.failed({"message": "no"}, "it goes on")
    ended = await showing.close()

    assert ended
    assert screen.shown == [{"app": "shop"}, ("stderr", "hello"), ({"message": "no"}, "it goes on"), "closed"]


async def test_screen_that_stands_still_costs_facts_and_no_time():
    screen = Screen()
    screen.moves.clear()
    showing = Showing(screen, lambda error: None)
    showing.note("first")

    for _ in range(FACTS_AT_MOST + 7):
        showing.facts([{"type": "X"}])
    stuck = not await showing.close()
    screen.moves.set()

    assert stuck
    assert await showing.close()
    facts = [fact for shown in screen.shown if isinstance(shown, list) for fact in shown]
    dropped = [fact["data"]["count"] for fact in facts if fact["type"] == "microlith.dropped"]
    assert len(facts) - len(dropped) + sum(dropped) == FACTS_AT_MOST + 7


async def test_screen_that_nobody_reads_is_reported_once():
    screen, told = Screen(), asyncio.get_running_loop().create_future()
    screen.error = BrokenPipeError()
    showing = Showing(screen, told.set_result)

    showing.note("one")
    error = await asyncio.wait_for(told, 5)
    showing.note("two")
    await showing.room()

    assert isinstance(error, BrokenPipeError)
    assert await showing.close()


async def test_output_waits_for_room():
    screen = Screen()
    screen.moves.clear()
    showing = Showing(screen, lambda error: None)
    for number in range(2_001):
        showing.output("stdout", str(number))

    waiting = asyncio.create_task(showing.room())
    done, _ = await asyncio.wait([waiting], timeout=0.05)
    screen.moves.set()
    await asyncio.wait_for(waiting, 5)

    assert not done
    assert await showing.close()
    assert len(screen.shown) == 2_002
