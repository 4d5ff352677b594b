"""`microlith dispatch`: send one message, and wait for what comes of it.

The flags of the message come from its schema, which the running microlith gives; it also validates, so
neither the project's code nor pydantic is imported here unless nothing runs.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from microlith_cli.commands.dispatch.wish import GRACE, SWITCHES, VALUED, Wish, concurrency_of, read_wish
from microlith_cli.console import blocks, plain
from microlith_cli.errors import DONE, SAID_NO, ConnectionLostError, RefusedError, UsageError
from microlith_cli.filling import checked, earlier_message, gather, read_data
from microlith_cli.options import Options, split
from microlith_cli.plurals import plural
from microlith_cli.project import Project, find_project
from microlith_cli.schema import Field
from microlith_cli.session import only_reply, open_session

if TYPE_CHECKING:
    from microlith_cli.console.growing import Growth


def run(arguments: list[str]) -> int:
    """Send a command, query or event, and wait for what comes of it."""
    given = split(arguments, valued=VALUED, switches=SWITCHES)
    plain.settings.as_json = given.has("--json")
    if given.has("--help"):
        from microlith_cli.commands.dispatch.helping import show_help  # noqa: PLC0415 (many imports, for people)

        return show_help(given)
    wish = read_wish(given)
    if given.has("--concurrency") and not given.has("--batch"):
        raise UsageError("--concurrency needs --batch.")
    if given.has("--batch"):
        return _send_batch(given, wish)
    project = find_project()
    base = _base(given, wish, project)
    with _growth() as growth, open_session(project, wish.mode, say=plain.say) as session:
        entry = only_reply(session, {"verb": "describe", "type": wish.type_name})["message"]
        waits = wish.waits or (entry["kind"] == "query" and not (wish.at or wish.after))
        asks = sys.stderr.isatty() and not plain.settings.as_json
        payload, missing = gather(entry, wish.tokens, base, edit=given.has("--edit"), asks=asks)
        problems: dict[str, str] = {}
        while True:
            if missing:
                from microlith_cli.commands.dispatch.asking import ask_for  # noqa: PLC0415 (for a person at a terminal)

                ask_for(entry, missing, payload, problems)
            request = wish.request(checked(payload), trace=waits, running=waits and growth is not None)
            replies = session.request(request, patience=wish.timeout + GRACE)
            try:
                return _follow(replies, wish, session.mode, waits=waits, growth=growth if waits else None)
            except RefusedError as error:
                problems = _told_of(missing, error)
                missing = [field for field in missing if field.name in problems]
                if not problems:
                    raise


def _told_of(asked: list[Field], error: RefusedError) -> dict[str, str]:
    """What is wrong with the fields that were asked for, by name; nothing, when anything else is wrong."""
    found: dict[str, str] = {}
    for problem in error.error.get("problems", ()):
        told = str(problem.get("field"))
        name = next((field.name for field in asked if f"{told}.".startswith(f"{field.name}.")), None)
        if name is None:
            return {}
        found.setdefault(name, str(problem.get("problem")))
    return found


def _growth() -> AbstractContextManager["Growth | None"]:
    """What draws the tree while it grows; None without a terminal, or where nothing is to be said."""
    if plain.settings.verbosity < 0 or sys.stderr is None or not sys.stderr.isatty():
        return nullcontext()
    from microlith_cli.console.growing import show_growth  # noqa: PLC0415 (for a person at a terminal)

    return show_growth()


def _send_batch(given: Options, wish: Wish) -> int:
    from microlith_cli.commands.dispatch.batch import run_batch  # noqa: PLC0415 (for batches alone)

    at_once = concurrency_of(given)
    with open_session(find_project(), wish.mode, say=plain.say) as session:
        return run_batch(session, wish, given.one("--batch") or "-", at_once)


def _base(given: Options, wish: Wish, project: Project) -> dict[str, Any]:
    """Read the fields that flags are laid over: of an earlier message, and what was given as JSON."""
    base = read_data(given.one("--data"))
    typed = given.one("--from")
    if typed is None:
        return base
    type_name, earlier = earlier_message(project, typed)
    if wish.type_name and wish.type_name.rpartition(".")[2] != type_name.rpartition(".")[2]:
        raise UsageError(f"{typed} began with {type_name}, not with {wish.type_name}.", hint="Leave out the message.")
    wish.type_name = wish.type_name or type_name
    return earlier | base


def _follow(replies: Iterator[dict[str, Any]], wish: Wish, mode: str, *, waits: bool, growth: "Growth | None") -> int:
    """Show what comes back, until the end."""
    accepted = ""
    running: list[Mapping[str, Any]] = []
    try:
        for reply in replies:
            if "accepted" in reply:
                accepted = blocks.short_id(str(reply["accepted"].get("id", "")))
                _show_accepted(reply["accepted"], waits=waits)
                if growth is not None:
                    growth.begin()
            elif "fact" in reply:
                wish.facts.add(reply["fact"])
            elif "running" in reply:
                running = reply["running"]
            elif "matched" in reply:
                _show(reply["matched"])
            if reply.get("end"):
                return _end(reply, wish, running, growth)
            if growth is not None:
                growth.take(wish.facts, running)
    except KeyboardInterrupt:
        if accepted:
            if growth is not None and growth.was_drawn:
                growth.take(wish.facts, running, at_once=True)
                growth.forget()
            later = "goes on" if mode == "attached" else "is carried on at the next start, if its store is durable"
            plain.say(f"stopped waiting; {wish.type_name} {accepted} was accepted and {later}")
        raise
    raise ConnectionLostError


def _show_accepted(message: Mapping[str, Any], *, waits: bool) -> None:
    if waits:
        number = blocks.short_id(str(message.get("id", "")))
        plain.say(f"accepted {message.get('type')} {number}")
    elif plain.settings.as_json:
        plain.out_json(message)
    else:
        plain.out(blocks.accepted_block(message))


def _show(message: Mapping[str, Any]) -> None:
    if plain.settings.as_json:
        plain.out_json(message)
    else:
        plain.out(blocks.message_block(message))


def _say_left_out(wish: Wish) -> None:
    if wish.facts.left_out:
        plain.say(f"the tree is not whole: there was no room for {plural(wish.facts.left_out, 'more fact')}")
        plain.say("what looks unfinished in it may have ended in one of them")


def _end(reply: Mapping[str, Any], wish: Wish, running: list[Mapping[str, Any]], growth: "Growth | None") -> int:
    code = int(reply.get("exit", SAID_NO if "error" in reply else DONE))
    if growth is not None:
        growth.clear()
    if wish.facts and plain.settings.verbosity >= (0 if "error" in reply else 1):
        # 15 ms, and most dispatches need no tree.
        from microlith_cli.console.growing import build_growing, known_facts  # noqa: PLC0415
        from microlith_cli.console.tree import show_tree  # noqa: PLC0415

        for tree in build_growing(known_facts(wish.facts, running)):
            show_tree(tree, sys.stderr)
        _say_left_out(wish)
    elif growth is not None and growth.was_drawn:
        growth.take(wish.facts, running, at_once=True)
        growth.forget()
        _say_left_out(wish)
    if "error" not in reply:
        return code
    error = dict(reply["error"])
    if report := reply.get("report"):
        error["report"] = report
    raise RefusedError(error, code)
