"""A projection's rows, in memory and in a file, against a dictionary: put, replaced, deleted, found, rebuilt."""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from microlith import Component, Event, Microlith, ReadModel, Table, correlated
from microlith.event_store.memory import MemoryEventStore
from microlith.event_store.protocol import EventStore, Unit
from microlith.event_store.sqlite import SQLiteEventStore
from microlith.secrecy import reveal
from tests.properties.examples import TIMEOUT, Loop, scratch, share

pytestmark = pytest.mark.timeout(TIMEOUT)

WHOLE = st.integers(-(2**63), 2**63 - 1)
KEY = st.sampled_from(["a", "b", "ab", "ä", "\U0001f529", "", "A", "a'--"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=3
)
SIZE = st.sampled_from([0.0, -0.0, 1.0, 0.1, 1e300, float("inf")]) | st.none()
ROWS = {
    "group": st.sampled_from(["x", "y", "1"]) | st.none(),
    "size": SIZE,
    "number": st.sampled_from([0, 1, -1, 2**53 + 1]) | WHOLE,
    "flag": st.booleans(),
}


class ThingPut(Event):
    key: str
    group: str | None
    size: float | None
    number: int
    flag: bool


class ThingDropped(Event):
    key: str


class GroupDropped(Event):
    """Deletes what it finds; the rest of the group's rows must stay findable."""

    group: str | None


class Ignored(Event):
    pass


class Thing(ReadModel, key="key", indexes=("group", "size", "number", "flag")):
    key: str
    group: str | None
    size: float | None
    number: int
    flag: bool
    puts: int


class Total(ReadModel, key="number"):
    """Keyed by a number, and read before it is written."""

    number: int
    things: int


def declared() -> Microlith:
    """Declare the projection anew."""
    component = Component("things")
    things = component.projection("things", Thing, Total)

    @things.on(ThingPut)
    def put(event: ThingPut, table: Table[Thing], totals: Table[Total]) -> None:
        before = table.get(event.key)
        table.put(Thing(**event.model_dump(), puts=1 + (before.puts if before else 0)))
        totals.put(Total(number=event.number, things=table.count(number=event.number)))

    @things.on(ThingDropped)
    def drop(event: ThingDropped, table: Table[Thing]) -> None:
        table.delete(event.key)

    @things.on(GroupDropped)
    def drop_group(event: GroupDropped, table: Table[Thing]) -> None:
        for row in table.find(group=event.group):
            assert table.delete(row.key)

    @component.handles(Ignored)
    async def ignore(event: Ignored) -> None:
        """Declare the event."""

    return Microlith("app", [component])


class ProjectionMachine(RuleBasedStateMachine):
    """Writes the same events to both stores, and keeps the rows in dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = Loop()
        self.folder = scratch()
        self.rows: dict[str, dict[str, Any]] = {}
        self.totals: dict[int, int] = {}
        self.events = 0
        wiring = declared().wire()
        self.types, self.projections = wiring.types, wiring.projections
        self.things, self.total = self.projections[0].tables
        self.memory = MemoryEventStore(self.types)
        self.stores: list[EventStore] = []

    @initialize()
    def open(self) -> None:
        file = SQLiteEventStore(f"{self.folder.name}/events.db", self.types, "fast")  # type: ignore[arg-type]
        self.stores = [self.memory, file]
        for store in self.stores:
            self.loop.run(store.open(self.projections))

    def teardown(self) -> None:
        try:
            if self.stores:
                self._compare()
        finally:
            for store in self.stores:
                self.loop.run(store.close())
            self.loop.close()
            self.folder.cleanup()

    @rule(things=st.lists(st.builds(ThingPut, key=KEY, **ROWS), min_size=1, max_size=4))
    def put(self, things: list[ThingPut]) -> None:
        self._write(things)
        for event in things:
            puts = self.rows.get(event.key, {"puts": 0})["puts"] + 1
            self.rows[event.key] = {**reveal(event), "puts": puts}
            self.totals[event.number] = sum(row["number"] == event.number for row in self.rows.values())

    @rule(key=KEY)
    def drop(self, key: str) -> None:
        self._write([ThingDropped(key=key)])
        self.rows.pop(key, None)

    @rule(group=ROWS["group"])
    def drop_group(self, group: str | None) -> None:
        self._write([GroupDropped(group=group)])
        self.rows = {key: row for key, row in self.rows.items() if row["group"] != group}

    @rule()
    def write_what_nobody_takes(self) -> None:
        self._write([Ignored()])

    @rule()
    def reopen(self) -> None:
        for store in self.stores:
            self.loop.run(store.close())
        self.open()

    @rule()
    def rebuild(self) -> None:
        digests = []
        for store in self.stores:
            rebuilt = self.loop.run(store.rebuild(self.projections[0].name, lambda done, total: None))
            assert (rebuilt.before, rebuilt.events) == (rebuilt.after, self.events)
            digests.append(rebuilt.after)
        assert len(set(digests)) == 1

    @rule(field=st.sampled_from(sorted(ROWS)), data=st.data(), limit=st.integers(1, 3))
    def find(self, field: str, data: Any, limit: int) -> None:
        value = data.draw(ROWS[field])
        found = [row for _, row in sorted(self.rows.items()) if row[field] == value]
        for store in self.stores:
            assert store.rows.count(self.things, {field: value}) == len(found)
            got = store.rows.find(self.things, {field: value}, limit)
            assert [Thing.model_validate_json(row).model_dump() for row in got] == found[:limit]

    @rule(group=ROWS["group"], flag=ROWS["flag"])
    def find_by_two(self, group: str | None, flag: bool) -> None:
        wanted = {"group": group, "flag": flag}
        found = [key for key, row in sorted(self.rows.items()) if (row["group"], row["flag"]) == (group, flag)]
        for store in self.stores:
            got = store.rows.find(self.things, wanted, 100)
            assert [Thing.model_validate_json(row).key for row in got] == found

    @rule(key=KEY)
    def get(self, key: str) -> None:
        for store in self.stores:
            row = store.rows.get(self.things, key)
            assert (None if row is None else Thing.model_validate_json(row).model_dump()) == self.rows.get(key)

    def _write(self, messages: list[Any]) -> None:
        envelopes = [correlated(message) for message in messages]
        self.events += len(messages)
        for store in self.stores:
            errors: list[BaseException | None] = []
            store.complete(Unit(envelopes), lambda _, error, errors=errors: errors.append(error))  # type: ignore[misc]
            self.loop.run(store.flush())
            assert errors == [None]

    def _compare(self) -> None:
        for store in self.stores:
            (state,) = self.loop.run(store.projection_states())
            assert (state.checkpoint, state.error) == (self.events - 1, None)
            assert state.rows == len(self.rows) + len(self.totals)
            things = [Thing.model_validate_json(row).model_dump() for row in store.rows.find(self.things, {}, 1000)]
            assert things == [row for _, row in sorted(self.rows.items())]
            totals = [Total.model_validate_json(row) for row in store.rows.find(self.total, {}, 1000)]
            assert [(row.number, row.things) for row in totals] == sorted(self.totals.items())


ProjectionMachine.TestCase.settings = share(0.3)
TestProjectionAgainstItsModel = ProjectionMachine.TestCase
