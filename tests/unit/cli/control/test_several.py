"""Several processes asked as one, over real sockets: each here is a control server in the test's loop."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from microlith_cli import several as several_module
from microlith_cli.config import Config
from microlith_cli.control.connection import Client
from microlith_cli.control.server import ControlServer
from microlith_cli.errors import ConnectionLostError, UsageError
from microlith_cli.project import Project
from microlith_cli.session import connect, connect_parts
from microlith_cli.several import Several
from microlith_cli.sharing import base_of
from tests.eventually import eventually
from tests.unit.cli.control.channel import in_thread

MESSAGES = {
    "LoginCommand": {"type": "LoginCommand", "component": "auth", "kind": "command", "handlers": ["auth.login"]},
    "PayCommand": {"type": "PayCommand", "component": "orders", "kind": "command", "handlers": ["stock.pay"]},
    "PaidEvent": {"type": "PaidEvent", "component": "stock", "kind": "event", "handlers": ["auth.note"]},
}


class Process:
    """A process of one component, as far as its control channel goes."""

    def __init__(self, state: Path, name: str, *, leads: bool = True) -> None:
        self.name = name
        component = base_of(name)
        hello = {"app": "shop", "version": "0", "pid": os.getpid(), "generation": 1}
        hello |= {"process": name, "shared": True, "leads": leads}
        hello["components"] = [component] if component.isidentifier() else []
        self.asked: list[dict[str, Any]] = []
        self.following: list[tuple[Client, dict[str, Any]]] = []
        self.replies: list[dict[str, Any]] = [{"accepted": {}}, {"end": True, "exit": 0}]
        self.server = ControlServer(
            state / name,
            hello=lambda: hello,
            verbs={"dispatch", "describe", "list", "follow", "dead_letters", "events"},
            handle=self._handle,
            on_fault=lambda error: None,
        )

    async def _handle(self, client: Client, request: dict[str, Any]) -> None:
        number = request["id"]
        self.asked.append(request)
        match request["verb"]:
            case "describe":
                client.send({"id": number, "message": MESSAGES[request["type"]], "end": True, "exit": 0})
            case "list":
                client.send({"id": number, "catalog": {"messages": list(MESSAGES.values())}, "end": True, "exit": 0})
            case "follow":
                self.following.append((client, request))
            case "dead_letters":
                client.send({"id": number, "of": self.name, "end": True, "exit": 0})
            case "dispatch":
                for reply in self.replies:
                    client.send({"id": number, **reply})

    def tell(self, moment: str, **more: Any) -> None:
        for client, request in self.following:
            client.send({"id": request["id"], "fact": {"id": moment, "time": f"2026-11-23T12:00:{moment}Z", **more}})

    def sent(self) -> list[str]:
        return [request["type"] for request in self.asked if request["verb"] == "dispatch"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, Config({}, {}))


@pytest_asyncio.fixture
async def processes(project: Project) -> AsyncIterator[tuple[Process, Process]]:
    both = Process(project.state, "auth"), Process(project.state, "stock")
    for process in both:
        await process.server.start()
    yield both
    for process in both:
        await process.server.stop()


def several(project: Project) -> Several:
    found = connect(project)
    assert isinstance(found, Several)
    return found


def ask(project: Project, request: dict[str, Any]) -> list[dict[str, Any]]:
    with several(project) as session:
        return [{**reply, "id": 0} for reply in session.request(request, patience=10)]


@pytest.mark.parametrize(("name", "taker"), [("LoginCommand", 0), ("PayCommand", 1), ("PaidEvent", 1)])
async def test_message_goes_to_the_process_of_the_component_that_takes_it(project, processes, name, taker):
    await in_thread(lambda: ask(project, {"verb": "dispatch", "type": name}))

    assert [process.sent() for process in processes] == [[name] if at == taker else [] for at in (0, 1)]


async def test_message_that_nobody_here_takes_goes_to_the_first(project, processes):
    await processes[1].server.stop()
    another = Process(project.state, "third")
    await another.server.start()

    await in_thread(lambda: ask(project, {"verb": "dispatch", "type": "PayCommand"}))

    assert (processes[0].sent(), another.sent()) == (["PayCommand"], [])
    await another.server.stop()


async def test_what_others_tell_of_a_message_comes_with_the_answer(project, processes, monkeypatch):
    monkeypatch.setattr(several_module, "_SETTLES", 2.0)  # this machine may be busy
    auth, stock = processes
    auth.replies = [{"accepted": {}}]
    answer = asyncio.create_task(
        in_thread(lambda: ask(project, {"verb": "dispatch", "type": "LoginCommand", "trace": True}))
    )
    await eventually(lambda: stock.following and auth.sent())
    (request,) = [request for request in auth.asked if request["verb"] == "dispatch"]
    assert stock.following[0][1]["filter"] == f'correlation="{request["message_id"]}"'

    stock.tell("01")
    await asyncio.sleep(0.05)  # the end is not to come before it
    (client,) = list(auth.server.clients)
    client.send({"id": request["id"], "end": True, "exit": 1, "error": {"message": "no"}})
    stock.tell("02")
    replies = await answer

    assert [reply["fact"]["id"] for reply in replies if "fact" in reply] == ["01", "02"]
    assert [reply["fact"]["process"] for reply in replies if "fact" in reply] == ["stock", "stock"]
    assert replies[-1]["exit"] == 1


async def test_dispatch_ends_though_another_process_ends_meanwhile(project, processes):
    auth, stock = processes
    auth.replies = [{"accepted": {}}]
    answer = asyncio.create_task(
        in_thread(lambda: ask(project, {"verb": "dispatch", "type": "LoginCommand", "trace": True}))
    )
    await eventually(lambda: stock.following and auth.sent())

    await stock.server.stop()
    (request,) = [request for request in auth.asked if request["verb"] == "dispatch"]
    for client in list(auth.server.clients):
        client.send({"id": request["id"], "end": True, "exit": 0})

    assert (await answer)[-1]["exit"] == 0


async def test_dispatch_fails_when_the_process_that_took_it_ends(project, processes):
    auth, stock = processes
    auth.replies = [{"accepted": {}}]
    answer = asyncio.create_task(
        in_thread(lambda: ask(project, {"verb": "dispatch", "type": "LoginCommand", "trace": True}))
    )
    await eventually(lambda: stock.following and auth.sent())

    await auth.server.stop()

    with pytest.raises(ConnectionLostError):
        await answer


async def test_facts_of_both_come_in_the_order_in_which_they_were_told(project, processes, monkeypatch):
    monkeypatch.setattr(several_module, "_HELD", 2.0)  # this machine may be busy
    monkeypatch.setattr(several_module, "_HELD_LONGEST", 2.0)
    auth, stock = processes
    found: list[str] = []

    def follow() -> None:
        with several(project) as session:
            facts = (reply["fact"]["id"] for reply in session.request({"verb": "follow", "filter": ""}))
            found.extend(islice(facts, 4))

    following = asyncio.create_task(in_thread(follow))
    await eventually(lambda: auth.following and stock.following)
    stock.tell("02")
    stock.tell("04")
    auth.tell("01")
    auth.tell("03")
    await following

    assert found == ["01", "02", "03", "04"]


async def test_process_that_comes_later_is_followed_too_and_the_end_is_that_of_the_last(project, processes):
    auth, stock = processes
    third = Process(project.state, "third")
    found: list[tuple[str, str]] = []

    ended: list[ConnectionLostError] = []

    def follow() -> None:
        with several(project) as session:
            try:
                for reply in session.request({"verb": "follow", "filter": ""}):
                    found.append((reply["fact"]["id"], reply["fact"]["process"]))  # noqa: PERF401 (before the error)
            except ConnectionLostError as error:
                ended.append(error)

    following = asyncio.create_task(in_thread(follow))
    await eventually(lambda: auth.following and stock.following)
    await third.server.start()
    await eventually(lambda: third.following, seconds=10)
    await auth.server.stop()
    third.tell("01")
    await eventually(lambda: found)
    await stock.server.stop()
    third.tell("02")
    await eventually(lambda: len(found) == 2)
    await third.server.stop()
    await following

    assert found == [("01", "third"), ("02", "third")]
    assert len(ended) == 1


async def test_follower_that_another_thread_closes_ends(project, processes):
    session = await in_thread(lambda: several(project))
    ended = threading.Event()

    def follow() -> None:
        try:
            list(session.request({"verb": "follow", "filter": ""}))
        except ConnectionLostError:
            ended.set()

    following = asyncio.create_task(in_thread(follow))
    await eventually(lambda: all(process.following for process in processes))
    await in_thread(session.close)
    await following

    assert ended.is_set()


async def test_one_that_says_much_does_not_drown_the_other(project, processes):
    auth, stock = processes
    found: list[str] = []

    def follow() -> None:
        with several(project) as session:
            for reply in session.request({"verb": "follow", "filter": ""}):
                found.append(reply["fact"]["process"])
                if reply["fact"]["process"] == "stock":
                    return

    following = asyncio.create_task(in_thread(follow))
    await eventually(lambda: auth.following and stock.following)
    for _ in range(2_000):
        auth.tell("01")
    stock.tell("01")
    for _ in range(2_000):
        auth.tell("02")
    await following

    assert found.count("auth") <= 2_000


async def test_many_messages_go_each_to_its_process_some_at_a_time(project, processes):
    names = ["LoginCommand", "PayCommand"] * 50

    def send() -> list[int]:
        with several(project) as session:
            requests = ({"verb": "dispatch", "type": name} for name in names)
            return [number for number, reply in session.requests(requests, at_once=8, patience=10) if reply.get("end")]

    ended = await in_thread(send)

    assert sorted(ended) == list(range(100))
    assert [process.sent() for process in processes] == [["LoginCommand"] * 50, ["PayCommand"] * 50]


async def test_what_each_keeps_is_asked_of_the_one_that_is_named(project, processes):
    (reply,) = await in_thread(lambda: ask(project, {"verb": "dead_letters", "process": "stock"}))

    assert reply["of"] == "stock"
    assert "process" not in processes[1].asked[-1]
    with pytest.raises(UsageError, match="which is meant: auth, stock"):
        await in_thread(lambda: ask(project, {"verb": "events"}))


async def test_one_process_that_is_left_is_asked_by_itself(project, processes):
    await processes[0].server.stop()

    session = await in_thread(lambda: connect(project))

    assert not isinstance(session, Several)
    assert session.hello["components"] == ["stock"]
    assert list(await in_thread(lambda: connect_parts(project, ["stock"]))) == []
    session.close()
