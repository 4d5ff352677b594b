"""Processes that share a store, over real locks and sockets: each finds a folder, and the one that leads is asked for what they keep."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from microlith_cli.config import Config, Setting
from microlith_cli.control import address, claiming, client
from microlith_cli.control.claiming import TooManyProcessesError, claim
from microlith_cli.errors import AlreadyRunningError
from microlith_cli.project import Project
from microlith_cli.session import connect, connect_leading, processes_of, sharers
from microlith_cli.several import Several
from tests.eventually import eventually
from tests.unit.cli.control.channel import in_thread
from tests.unit.cli.control.test_several import Process, ask, several

SHARED = Config({"store.url": Setting("postgresql://db/shop?shared=yes", "here")}, {})


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, SHARED)


def claimed(project: Project, count: int) -> tuple[list[str], list[int]]:
    """Claim folders; gives their names, and what holds them."""
    found = [claim(project) for _ in range(count)]
    return [one.state.name for one, _ in found], [lock for _, lock in found]


@pytest.mark.parametrize(
    ("component", "names"), [("stock", ["stock", "stock.2", "stock.3"]), ("", [".microlith", "2", "3"])]
)
def test_each_process_has_the_first_folder_that_is_free(project, monkeypatch, component, names):
    monkeypatch.setenv("MICROLITH_COMPONENT", component)
    taken, locks = claimed(project, 3)

    os.close(locks[1])  # as when its process ends
    again, more = claimed(project, 2)

    assert (taken, again[0]) == (names, names[1])
    assert again[1].removesuffix("4") == names[1].removesuffix("2")
    for lock in (locks[0], locks[2], *more):
        os.close(lock)


def test_second_process_of_a_store_that_is_not_shared_is_refused(tmp_path):
    project = Project(tmp_path, Config({}, {}))
    _, (lock,) = claimed(project, 1)

    with pytest.raises(AlreadyRunningError, match=f"process {os.getpid()}"):
        claim(project)

    os.close(lock)
    assert [path.name for path in project.state.iterdir()] == ["control.lock"]


async def test_code_of_the_application_says_that_its_store_is_shared(tmp_path, monkeypatch):
    monkeypatch.setenv("MICROLITH_COMPONENT", "stock")
    project = Project(tmp_path, Config({}, {}))
    first = Process(project.state.parent, "stock", leads=True)
    await first.server.start()

    numbered, lock = await in_thread(lambda: claim(project))

    os.close(lock)
    await first.server.stop()
    assert numbered.state == project.state.with_name("stock.2")


def test_no_more_share_than_may(project, monkeypatch):
    monkeypatch.setattr(claiming, "MOST", 3)
    monkeypatch.setenv("MICROLITH_COMPONENT", "stock")
    _, locks = claimed(project, 3)

    with pytest.raises(TooManyProcessesError, match="3 processes of stock run here"):
        claim(project)

    for lock in locks:
        os.close(lock)


@pytest_asyncio.fixture
async def processes(project: Project) -> AsyncIterator[dict[str, Process]]:
    """One of auth, which leads, and three of stock, of which the second leads."""
    leads = {"auth": True, "stock": False, "stock.2": True, "stock.3": False}
    found = {name: Process(project.state, name, leads=lead) for name, lead in leads.items()}
    for process in found.values():
        await process.server.start()
    yield found
    for process in found.values():
        await process.server.stop()


def asked(processes: dict[str, Process], verb: str) -> list[str]:
    return [name for name, process in processes.items() if verb in [request["verb"] for request in process.asked]]


async def test_what_they_keep_together_is_asked_once_and_of_the_one_that_leads(project, processes):
    def look() -> list[str]:
        with several(project) as session:
            for name in processes_of(session):
                list(session.request({"verb": "dead_letters", "process": name}, patience=10))
            return processes_of(session)

    names = await in_thread(look)

    assert names == ["auth", "stock"]
    assert asked(processes, "dead_letters") == ["auth", "stock.2"]


async def test_message_goes_to_the_one_that_leads(project, processes):
    await in_thread(lambda: ask(project, {"verb": "dispatch", "type": "PayCommand"}))

    assert [name for name, process in processes.items() if process.sent()] == ["stock.2"]


async def test_another_one_serves_when_the_one_that_leads_is_gone(project, processes):
    await processes["stock.2"].server.stop()

    await in_thread(lambda: ask(project, {"verb": "dispatch", "type": "PayCommand"}))
    await in_thread(lambda: ask(project, {"verb": "dead_letters", "process": "stock"}))

    assert [name for name, process in processes.items() if process.sent()] == ["stock"]
    assert asked(processes, "dead_letters") == ["stock"]


async def test_those_of_the_component_that_is_meant_are_one_to_ask(project, processes, monkeypatch):
    monkeypatch.setenv("MICROLITH_COMPONENT", "stock")

    def look() -> tuple[list[str], list[str]]:
        with several(project) as session:
            return session.processes, processes_of(session)

    (reply,) = await in_thread(lambda: ask(project, {"verb": "dead_letters"}))

    assert reply["of"] == "stock.2"
    assert await in_thread(look) == (["stock"], [])


async def test_all_of_them_are_followed_and_one_that_comes_later_too(project, processes, monkeypatch):
    monkeypatch.setenv("MICROLITH_COMPONENT", "stock")
    for name in ("stock.2", "stock.3"):
        await processes[name].server.stop()

    def follow() -> list[str]:
        with several(project) as session:
            told = []
            for reply in session.request({"verb": "follow", "filter": ""}):
                told.append(reply["fact"]["process"])
                if len(told) == 2:
                    return told
        return []

    task = asyncio.create_task(in_thread(follow))
    later = Process(project.state.parent, "stock.4", leads=True)
    await later.server.start()
    try:
        await eventually(lambda: processes["stock"].following and later.following)
        processes["stock"].tell("01")
        later.tell("02")
        assert sorted(await task) == ["stock", "stock.4"]
    finally:
        await later.server.stop()


async def test_one_that_says_nothing_does_not_keep_the_others_from_answering(project, processes, monkeypatch):
    monkeypatch.setenv("MICROLITH_COMPONENT", "stock")
    monkeypatch.setattr(client.RemoteSession.__init__, "__kwdefaults__", {"hello_seconds": 2.0})
    silent = project.numbered(4).state
    address.make_private(silent)
    with address.bind(silent) as listening:
        listening.listen()

        (reply,) = await in_thread(lambda: ask(project, {"verb": "dead_letters"}))

    assert reply["of"] == "stock.2"


async def test_one_session_is_with_the_one_that_leads(project, processes):
    def look() -> tuple[object, object]:
        session, nobody = connect_leading(project, "stock"), connect_leading(project)
        assert session is not None
        with session:
            return session.hello["process"], nobody

    assert await in_thread(look) == ("stock.2", None)
    told = await in_thread(lambda: sharers(project))
    assert [(hello["process"], hello["leads"]) for hello in told] == [
        ("auth", True),
        ("stock", False),
        ("stock.2", True),
        ("stock.3", False),
    ]


async def test_processes_of_the_whole_application_are_one_to_ask(project):
    both = Process(project.state, "", leads=False), Process(project.state, "2", leads=True)
    for process in both:
        await process.server.start()
    try:
        found = await in_thread(lambda: connect(project))
        assert isinstance(found, Several)
        found.close()
        (reply,) = await in_thread(lambda: ask(project, {"verb": "dead_letters"}))
        await in_thread(lambda: ask(project, {"verb": "dispatch", "type": "PayCommand"}))
    finally:
        for process in both:
            await process.server.stop()

    assert reply["of"] == "2"
    assert [process.sent() for process in both] == [[], ["PayCommand"]]
