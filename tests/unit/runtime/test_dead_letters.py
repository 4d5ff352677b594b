"""Dead letters: tried again with a new budget, or dropped; one commit, one letter, no old failure left to find."""

import asyncio
import logging

import pytest

from microlith import Command, Component, Event, HandlerFailedError, Microlith, Retry, WaitTimeout, correlated
from microlith.delivery.retrying import HandlerGoneError, RetryUnderWayError, UnknownDeadLetterError
from microlith.errors import ClosedError, NotRunningError


class Print(Command):
    """Ask for a page."""

    page: int


class PrintedEvent(Event):
    """A page was printed."""

    page: int


class FiledEvent(Event):
    """A printed page was filed."""

    page: int


class Office:
    """A printer and a folder, both of which may be broken; counts what was tried."""

    def __init__(self) -> None:
        self.printer = "jammed"
        self.folder = "open"
        self.tries: list[str] = []
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()


def office_app(office: Office, store: str, *, filing: str = "file") -> Microlith:
    """Declare an application that prints pages and files them."""
    component = Component("office")

    @component.handles(Print, retry=Retry(attempts=2, first=0.001))
    async def print_page(command: Print) -> PrintedEvent:
        office.tries.append(f"print {command.page}")
        office.begun.set()
        await office.go_on.wait()
        if office.printer != "works":
            raise ConnectionError(office.printer)
        return PrintedEvent(page=command.page)

    async def file(event: PrintedEvent) -> FiledEvent | None:
        office.tries.append(f"file {event.page}")
        if office.folder == "full":
            raise OSError(office.folder)
        return FiledEvent(page=event.page) if office.folder == "open" else None

    file.__name__ = file.__qualname__ = filing
    component.handles(PrintedEvent)(file)
    return Microlith("office", [component], store=store)


@pytest.fixture(params=["memory:", "sqlite:{}/events.db"])
def store(request, tmp_path) -> object:
    """Name a store: in memory, and in a file."""
    return request.param.format(tmp_path)


@pytest.fixture
def office() -> Office:
    """Give a printer that is jammed."""
    return Office()


async def fail_to_print(app: Microlith, page: int = 1):
    """Let a page fail; return its dead letter."""
    with pytest.raises(HandlerFailedError):
        await app.command_bus.execute(Print(page=page), until=PrintedEvent)
    await app.store.flush()
    return (await app.store.dead_letters())[-1]


async def test_retry_of_a_command_sends_what_it_returns_and_ends_the_letter(store, office):
    async with office_app(office, store) as app:
        letter = await fail_to_print(app)
        office.printer = "works"

        await app.retry_dead_letter(letter.sequence)

        assert await app.store.dead_letters() == []
        printed = await app.event_bus.wait_for(letter.correlation_id, PrintedEvent)
        await app.event_bus.wait_for(letter.correlation_id, FiledEvent)
    assert printed.page == 1
    assert office.tries == ["print 1"] * 3 + ["file 1"]


async def test_retry_keeps_the_place_of_the_message_in_its_correlation(store, office):
    async with office_app(office, store) as app:
        letter = await fail_to_print(app)
        office.printer = "works"

        await app.retry_dead_letter(letter.sequence)

        (event, *_) = await app.store.read_correlation(letter.correlation_id)
        assert (event.causation_id, event.depth) == (letter.message_id, 1)


async def test_retry_of_an_event_goes_to_the_handler_that_failed(store, office):
    office.printer, office.folder = "works", "full"
    async with office_app(office, store) as app:
        for page in (1, 2):
            await app.command_bus.execute(Print(page=page), until=PrintedEvent)
        await app.idle()
        first, second = await app.store.dead_letters()
        office.folder = "open"

        await app.retry_dead_letter(first.sequence)

        assert [one.sequence for one in await app.store.dead_letters()] == [second.sequence]
        assert (await app.event_bus.wait_for(first.correlation_id, FiledEvent)).page == 1
        checkpoint, finished = await app.store.checkpoint("office.file", start=-1)
        assert checkpoint >= 1
        assert finished == frozenset()
    assert [one for one in office.tries if one.startswith("file")] == ["file 1", "file 2", "file 1"]


async def test_retry_of_a_handler_that_sends_nothing_ends_the_letter(store, office):
    office.printer, office.folder = "works", "full"
    async with office_app(office, store) as app:
        await app.command_bus.execute(Print(page=1), until=PrintedEvent)
        await app.idle()
        (letter,) = await app.store.dead_letters()
        office.folder = "shredder"

        await app.retry_dead_letter(letter.sequence)

        assert await app.store.dead_letters() == []


async def test_retry_that_fails_again_changes_the_one_letter(store, office):
    async with office_app(office, store) as app:
        letter = await fail_to_print(app)
        office.printer = "on fire"

        with pytest.raises(HandlerFailedError, match="on fire"):
            await app.retry_dead_letter(letter.sequence)

        (changed,) = await app.store.dead_letters()
    assert (changed.sequence, changed.message_id) == (letter.sequence, letter.message_id)
    assert (letter.attempts, changed.attempts) == (2, 4)
    assert "on fire" in changed.error
    assert len(office.tries) == 4


async def test_retry_has_a_new_budget_each_time(store, office):
    async with office_app(office, store) as app:
        letter = await fail_to_print(app)
        for _ in range(3):
            with pytest.raises(HandlerFailedError, match="jammed"):
                await app.retry_dead_letter(letter.sequence)
        office.printer = "works"

        await app.retry_dead_letter(letter.sequence)

        assert await app.store.dead_letters() == []
    assert len([one for one in office.tries if one.startswith("print")]) == 2 * 4 + 1


async def test_retry_is_shown_as_another_handling(store, office):
    async with office_app(office, store) as app:
        letter = await fail_to_print(app)
        office.printer = "works"
        await app.retry_dead_letter(letter.sequence)

        handlings = app.tracer.handlings_of([letter.correlation_id])[letter.correlation_id]

    of_print = [(one.attempt, one.outcome) for one in handlings if one.handler == "office.print_page"]
    assert of_print == [(1, "retried"), (2, "failed"), (3, "ok")]


async def test_two_who_ask_for_a_retry_get_one(store, office):
    async with office_app(office, store) as app:
        letter = await fail_to_print(app)
        office.printer = "works"

        await asyncio.gather(*(app.retry_dead_letter(letter.sequence) for _ in range(2)))

        await app.idle()
    assert office.tries.count("print 1") == 3


async def test_who_stops_waiting_does_not_stop_the_retry(store, office):
    async with office_app(office, store) as app:
        letter = await fail_to_print(app)
        office.printer = "works"
        office.go_on.clear()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await app.retry_dead_letter(letter.sequence)
        office.go_on.set()

        await app.idle()

        assert await app.store.dead_letters() == []


async def test_letter_that_is_being_tried_is_not_dropped(store, office):
    async with office_app(office, store) as app:
        letter = await fail_to_print(app)
        office.printer = "works"
        office.go_on.clear()
        office.begun.clear()
        retry = asyncio.create_task(app.retry_dead_letter(letter.sequence))
        await office.begun.wait()

        with pytest.raises(RetryUnderWayError):
            await app.drop_dead_letter(letter.sequence)

        office.go_on.set()
        await retry


async def test_dropped_letter_is_gone_and_its_failure_with_it(store, office):
    async with office_app(office, store) as app:
        letter = await fail_to_print(app)

        await app.drop_dead_letter(letter.sequence)

        assert await app.store.dead_letters() == []
        with pytest.raises(WaitTimeout):
            await app.event_bus.wait_for(letter.correlation_id, PrintedEvent, timeout=0.05)
        for ask in (app.drop_dead_letter, app.retry_dead_letter):
            with pytest.raises(UnknownDeadLetterError):
                await ask(letter.sequence)


async def test_letter_of_a_handler_that_is_gone_stays(office, tmp_path):
    office.printer, office.folder = "works", "full"
    url = f"sqlite:{tmp_path}/events.db"
    async with office_app(office, url) as app:
        await app.command_bus.execute(Print(page=1), until=PrintedEvent)
        await app.idle()
    async with office_app(office, url, filing="archive") as app:
        (letter,) = await app.store.dead_letters()

        with pytest.raises(HandlerGoneError, match=r"office\.file"):
            await app.retry_dead_letter(letter.sequence)

        assert len(await app.store.dead_letters()) == 1


async def test_letter_is_tried_again_after_a_restart_with_its_headers(office, tmp_path):
    url = f"sqlite:{tmp_path}/events.db"
    sent = correlated(Print(page=7), headers={"tenant": "one"})
    async with office_app(office, url) as app:
        with pytest.raises(HandlerFailedError):
            await app.command_bus.execute(sent, until=PrintedEvent)
    office.printer = "works"
    async with office_app(office, url) as app:
        (letter,) = await app.store.dead_letters()
        envelope = await app.store.dead_message(letter)

        await app.retry_dead_letter(letter.sequence)

        assert (await app.event_bus.wait_for(sent.correlation_id, PrintedEvent)).page == 7
    assert envelope.headers == {"tenant": "one"}


async def test_stopping_ends_a_retry_and_leaves_the_letter(office, tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)
    url = f"sqlite:{tmp_path}/events.db"
    app = office_app(office, url)
    await app.start()
    letter = await fail_to_print(app)
    office.go_on.clear()
    office.begun.clear()
    retry = asyncio.create_task(app.retry_dead_letter(letter.sequence))
    await office.begun.wait()

    await app.stop(drain=0.01)

    with pytest.raises(ClosedError):
        await retry
    with pytest.raises(NotRunningError):
        await app.retry_dead_letter(letter.sequence)
    async with office_app(office, url) as app:
        (left,) = await app.store.dead_letters()
    assert (left.sequence, left.attempts) == (letter.sequence, letter.attempts)
