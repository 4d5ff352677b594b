"""Several processes of one application, as one to ask.

A message goes to the process of the component that takes it. What happens is told by all, and put in order. What one process
keeps for itself, such as its dead letters, is asked of that one: by its name in `process`. Of those that share a store, "stock" and
"stock.2", the one that leads is asked, under the name "stock".

Needs the standard library only; asks over sockets.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from operator import itemgetter
from select import select
from time import monotonic
from types import TracebackType
from typing import Any, Self

from microlith.ids import new_id
from microlith.tracing.merging import told_at
from microlith_cli.control.client import RemoteSession
from microlith_cli.errors import ConnectionLostError, NoAnswerError, UsageError
from microlith_cli.sharing import base_of

Reply = dict[str, Any]
Parts = Mapping[str, RemoteSession]
Find = Callable[[Collection[str]], Parts]

_HELD = 0.1
"""Seconds for which a fact is held, lest an earlier one of another process come behind it: each tells some thirty times a second."""
_HELD_LONGEST = 0.5
"""The same while they come without a pause."""
_HELD_AT_MOST = 5_000
_LOOKS_AGAIN = 1.0
"""Seconds between two looks for a process that has come since."""
_SETTLES = 0.3
"""Seconds in which the others may still tell what they know, once the one that was asked has answered."""
_ANSWER_SECONDS = 30.0


class Several:
    """Sessions with several processes.

    Args:
        parts: One with each, by the name of the process.
        find: Connects to those that run by now, but for some names.
    """

    mode = "attached"

    def __init__(self, parts: Parts, find: Find) -> None:
        self._parts = dict(parts)
        self._find = find
        self._messages: dict[str, Mapping[str, Any]] = {}
        self._turn = 0

    @property
    def hello(self) -> Mapping[str, Any]:
        """What the first of them said first."""
        return self._first.hello

    @property
    def processes(self) -> list[str]:
        """The names of the processes; those that share a store have one."""
        return list(dict.fromkeys(map(base_of, self._parts)))

    def request(self, request: Mapping[str, Any], *, patience: float | None = None) -> Iterator[Reply]:
        """Ask, and yield every reply as it comes; the last has `end`.

        Raises:
            UsageError: It is about what one process keeps, and does not say which is meant.
            NoAnswerError, ConnectionLostError: See `RemoteSession.request`.
        """
        if "process" in request:
            meant = {name: value for name, value in request.items() if name != "process"}
            return self._part(str(request["process"])).request(meant, patience=patience)
        match request["verb"]:
            case "dispatch":
                return self._dispatch(request, patience)
            case "follow":
                return self._follow(request)
            case "describe" | "list":
                return self._known_to_all(request, patience)
            case _ if len(names := self.processes) < 2:
                return self._first.request(request, patience=patience)
            case _:
                raise UsageError(
                    f"Each process keeps its own; which is meant: {', '.join(names)}?",
                    hint=f"Say it with MICROLITH_COMPONENT, such as MICROLITH_COMPONENT={names[0]}.",
                )

    def requests(
        self, requests: Iterable[Mapping[str, Any]], *, at_once: int, patience: float | None = None
    ) -> Iterator[tuple[int, Reply]]:
        """Ask many things, some at a time; yield every reply with the number of its request, from 0."""
        self._learn_all()
        waiting = enumerate(requests)
        under_way: dict[tuple[RemoteSession, int], int] = {}

        def send(count: int) -> None:
            for number, request in islice(waiting, count):
                part = self._taking(request)
                under_way[part, part.send(request)] = number

        send(at_once)
        while under_way:
            came = self._next(patience)
            if came is None:
                raise NoAnswerError("The running processes said nothing", patience or 0)
            part, reply = came
            number = under_way.get((part, reply.get("id", 0)))
            if number is None:
                continue
            if reply.get("end"):
                del under_way[part, reply["id"]]
            yield number, reply
            send(at_once - len(under_way))

    def close(self) -> None:
        """Hang up. Safe to call twice, and from another thread."""
        for part in list(self._parts.values()):
            part.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def _first(self) -> RemoteSession:
        if not self._parts:
            raise ConnectionLostError
        return self._part(base_of(next(iter(self._parts))))

    def _part(self, name: str) -> RemoteSession:
        """Find a process by its name: of those that share a store, the one that leads."""
        found = leading({each: part for each, part in self._parts.items() if base_of(each) == name})
        if found is None:
            raise ConnectionLostError
        return found

    def _taking(self, request: Mapping[str, Any]) -> RemoteSession:
        """Find the process of the component that takes a message; any, where that does not run here."""
        name = str(request.get("type"))
        if name not in self._messages:
            for reply in self._known_to_all({"verb": "describe", "type": name}, _ANSWER_SECONDS):
                self._learn(reply.get("message"))
        taker = _taker(self._messages.get(name, {}))
        takes = {each: part for each, part in self._parts.items() if taker in part.hello.get("components", ())}
        return leading(takes) or self._first

    def _learn_all(self) -> None:
        """Learn of every message beforehand: while several answers come, nothing else can be asked."""
        for reply in self._known_to_all({"verb": "list"}, _ANSWER_SECONDS):
            for entry in reply.get("catalog", {}).get("messages", ()):
                self._learn(entry)

    def _learn(self, entry: Mapping[str, Any] | None) -> None:
        if entry is not None:
            plain = str(entry["type"]).rpartition(".")[2]
            self._messages |= {str(entry["type"]): entry, f"{entry['component']}.{plain}": entry}

    def _dispatch(self, request: Mapping[str, Any], patience: float | None) -> Iterator[Reply]:
        """Have a message sent; when the process that was asked goes, by another one: with its id, it is not sent twice."""
        began, accepted = monotonic(), False
        asked = {"message_id": new_id(), **request}
        while True:
            part = self._taking(request)
            replies = (self._traced if request.get("trace") else _untraced)(part, asked, patience)
            for reply in self._unless_it_goes(part, replies):
                if "accepted" not in reply or not accepted:
                    yield reply
                accepted = accepted or "accepted" in reply
            if part in self._parts.values():
                return
            asked |= {"accepted": accepted}
            if request.get("timeout") is not None:
                waited = monotonic() - began
                asked |= {"timeout": max(0.01, request["timeout"] - waited), "waited": waited}

    def _known_to_all(self, request: Mapping[str, Any], patience: float | None) -> Iterator[Reply]:
        """Ask any process what each of them knows."""
        while True:
            part = self._first
            yield from self._unless_it_goes(part, part.request(request, patience=patience))
            if part in self._parts.values():
                return

    def _unless_it_goes(self, part: RemoteSession, replies: Iterator[Reply]) -> Iterator[Reply]:
        """Yield what a process answers. When it goes, and others share its store, forget it and end."""
        try:
            for reply in replies:
                if _closes(reply) and self._others(part):
                    break
                yield reply
            else:
                return
        except ConnectionLostError:
            if not self._others(part):
                raise
        self._parts = {name: other for name, other in self._parts.items() if other is not part}
        part.close()

    def _others(self, part: RemoteSession) -> list[RemoteSession]:
        """The processes that share the store of one."""
        its = {base_of(name) for name, one in self._parts.items() if one is part} or {
            base_of(str(part.hello.get("process", "")))
        }
        return [one for name, one in self._parts.items() if one is not part and base_of(name) in its]

    def _traced(self, part: RemoteSession, request: Mapping[str, Any], patience: float | None) -> Iterator[Reply]:
        """Have a message sent by one process, and hear of what it causes from the others, too."""
        identifier = request["message_id"]
        follow = {"verb": "follow", "filter": f'correlation="{identifier}"'}
        asked = {other: other.send(follow) for other in self._parts.values() if other is not part}
        asked[part] = part.send(request)
        end: Reply | None = None
        until = None
        while end is None or (until is not None and monotonic() < until):
            try:
                came = self._next(patience if until is None else max(0.0, until - monotonic()))
            except ConnectionLostError:
                if part.fileno() < 0:
                    raise
                continue  # another one; what it knew is missing
            if came is None and end is None:
                raise NoAnswerError("The running process said nothing", patience or 0)
            if came is None or came[1].get("id") != asked.get(came[0]):
                continue
            source, reply = came
            if "fact" in reply or (source is part and not reply.get("end")):
                yield reply
            elif source is part:
                end = reply
                if "error" in reply or request.get("running"):  # then the whole tree is shown
                    until = monotonic() + _SETTLES
        yield end

    def _follow(self, request: Mapping[str, Any]) -> Iterator[Reply]:
        """Yield what all tell, in order, until none is left. One that has come since is followed, too."""
        asked = {part: part.send(request) for part in self._parts.values()}
        held: list[tuple[float, float, Reply]] = []
        looks = monotonic() + _LOOKS_AGAIN
        while self._parts:
            wakes = min(looks, held[0][1] + _HELD) if held else looks
            try:
                came = self._next(max(0.0, wakes - monotonic()))
            except ConnectionLostError:
                continue  # the others go on
            now = monotonic()
            if came is not None and came[1].get("id") == asked.get(came[0]):
                if "error" in came[1]:
                    yield came[1]
                elif "fact" in came[1]:
                    held.append((told_at(came[1]["fact"]), now, came[1]))
            late = now - (
                _HELD if came is None else _HELD_LONGEST
            )  # while more can be read, an earlier one may be in it
            due = [one[0] for one in held if len(held) > _HELD_AT_MOST or one[1] <= late]
            if due:  # and with them all that were told before
                latest = max(due)
                ready = [one for one in held if one[0] <= latest]
                held = [one for one in held if one[0] > latest]
                yield from map(itemgetter(2), sorted(ready, key=itemgetter(0)))
            if now > looks:
                looks = now + _LOOKS_AGAIN
                for name, part in self._find(list(self._parts)).items():
                    self._parts[name] = part
                    asked[part] = part.send(request)
        yield from map(itemgetter(2), sorted(held, key=itemgetter(0)))
        raise ConnectionLostError

    def _next(self, seconds: float | None) -> tuple[RemoteSession, Reply] | None:
        """Wait for the next reply of any process; None when none came in time.

        Raises:
            ConnectionLostError: One went away; it is not listened to any more.
        """
        if not self._parts:
            raise ConnectionLostError
        self._turn = (self._turn + 1) % len(self._parts)  # whoever says much must not drown the others
        names = [*self._parts][self._turn :] + [*self._parts][: self._turn]
        name = next((name for name in names if self._parts[name].has_line), None)
        try:
            if name is None:
                readable, _, _ = select(list(self._parts.values()), [], [], seconds)
                name = next((name for name in names if self._parts[name] in readable), None)
            if name is None:
                return None
            part = self._parts[name]
            reply = part.receive(_ANSWER_SECONDS)
        except ConnectionLostError:
            self._parts.pop(str(name)).close()
            raise
        except (OSError, ValueError) as error:  # closed meanwhile, by another thread
            self._parts = {name: part for name, part in self._parts.items() if part.fileno() >= 0}
            raise ConnectionLostError from error
        if "fact" in reply and (len(self.processes) > 1 or "correlationid" not in reply["fact"]):
            reply["fact"].setdefault("process", name)  # a message says so itself, but for one of the whole application
        return part, reply


def leading(parts: Parts) -> RemoteSession | None:
    """Choose among processes that share a store: the one that leads, or else the first; None among none."""
    leads = (part for part in parts.values() if part.hello.get("leads", True))
    return next(leads, next(iter(parts.values()), None))


def _untraced(part: RemoteSession, request: Mapping[str, Any], patience: float | None) -> Iterator[Reply]:
    return part.request(request, patience=patience)


def _closes(reply: Reply) -> bool:
    """Tell whether a process ends that was asked, rather than that it has answered."""
    return bool(reply.get("end")) and reply.get("error", {}).get("type") == "ClosedError"


def _taker(entry: Mapping[str, Any]) -> str:
    """The component that takes a message: that of its handler, or of the event itself."""
    if entry.get("kind") == "event" or not entry.get("handlers"):
        return str(entry.get("component"))
    return str(entry["handlers"][0]).partition(".")[0]
