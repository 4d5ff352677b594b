"""The worker's other verbs: describe, list, follow, rebuild, status; and the catalog it leaves for completion."""

import asyncio
import json
from typing import Any

from microlith_cli.supervisor.worker import Worker
from tests.unit.runtime.shop import make_shop

Line = dict[str, Any]


async def test_describe_gives_the_entry_of_one_message(ask):
    (line,) = await ask("describe", type="OpenAccount")

    assert line["message"]["type"] == "OpenAccount"
    assert line["message"]["secrets"] == ["password"]
    assert (line["end"], line["exit"]) == (True, 0)


async def test_describe_of_an_unknown_message_names_the_nearest(ask):
    (line,) = await ask("describe", type="OpenAcount")

    assert line["exit"] == 2
    assert "OpenAccount" in line["error"]["hint"]


async def test_list_gives_the_catalog(ask):
    (line,) = await ask("list")

    assert line["catalog"]["components"] == ["accounts"]


async def test_status_says_what_serves(ask):
    (line,) = await ask("status")

    assert line["status"]["handlers"] == {"command": 3, "query": 1, "event": 1}
    assert line["status"]["unhandled"] == []
    assert line["status"]["durability"] == "memory"


async def test_unknown_verb_is_refused_with_the_nearest(ask):
    (line,) = await ask("dispach")

    assert line["exit"] == 2
    assert "dispatch" in line["error"]["hint"]


async def test_follow_shows_what_passes_the_filter(worker, ask):
    lines: list[Line] = []
    following = asyncio.create_task(
        worker.handle({"id": 1, "verb": "follow", "filter": "type:AccountOpenedEvent"}, lines.append)
    )
    await asyncio.sleep(0)

    await ask("dispatch", type="OpenAccount", data={"email": "a@b.c"}, wait=["WelcomeSentEvent"])
    await worker.stop()
    await following

    assert [line["fact"]["type"] for line in lines if "fact" in line and line["fact"]["type"][0] == "A"] == [
        "AccountOpenedEvent"
    ]
    assert lines[-1]["end"]


async def test_follow_refuses_what_is_no_filter(ask):
    wrong_kind = await ask("follow", filter=3)
    wrong_key = await ask("follow", filter="tpye:X")

    assert [wrong_kind[-1]["exit"], wrong_key[-1]["exit"]] == [2, 2]


async def test_rebuild_rebuilds_every_projection_and_says_that_nothing_changed(ask):
    await ask("dispatch", type="OpenAccount", data={"email": "a@b.c"}, wait=["WelcomeSentEvent"])

    lines = await ask("rebuild", projections=None)

    (rebuilt,) = lines[-1]["rebuilt"]
    assert rebuilt["projection"] == "accounts.accounts"
    assert rebuilt["before"] == rebuilt["after"]
    assert lines[-1]["exit"] == 0


async def test_rebuild_refuses_an_unknown_projection_before_it_begins(ask):
    lines = await ask("rebuild", projections=["accounts.accounts", "accounts.acounts"])

    assert [line.get("exit") for line in lines] == [2]
    assert "accounts.accounts" in lines[-1]["error"]["hint"]


async def test_catalog_is_written_whole_and_leaves_no_other_file(tmp_path):
    worker = Worker(make_shop(), state=tmp_path)
    await worker.start()

    worker.write_catalog()
    await worker.stop()

    assert [path.name for path in tmp_path.iterdir()] == ["catalog.json"]
    assert json.loads((tmp_path / "catalog.json").read_bytes())["app"] == "shop"


async def test_catalog_that_cannot_be_written_stops_nothing(tmp_path, caplog):
    worker = Worker(make_shop(), state=tmp_path / "missing")
    await worker.start()

    worker.write_catalog()
    await worker.stop()

    assert "catalog" in caplog.text
