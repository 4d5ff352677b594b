"""Overwriting: on the writer's thread, what personal fields have left behind in read models is taken away.

Every step may be done again.
"""

from collections.abc import Callable, Collection

from microlith.event_store.database.projecting import PAGE, Projections, Standing
from microlith.event_store.database.reading import LogReader
from microlith.event_store.database.session import Session, Source
from microlith.event_store.database.statements import statements


def touched(projections: Projections, reader: LogReader, source: Source) -> list[str]:
    """Name the projections that keep rows here and take events with sealed fields."""
    firsts = source.run(statements(f"{source.dialect.name}_reading.sql")["select_sealed"])
    events = [reader.all(position - 1, 1)[0] for (position,) in firsts]
    return [
        name
        for name, standing in projections.standings.items()
        if standing.projecting.tables and any(standing.projecting.takes(event) for event in events)
    ]


def start_over(
    session: Session, projections: Projections, names: Collection[str], reader: LogReader, stop: Callable[[], bool]
) -> None:
    """Empty projections, and fold the log into them, unless told to stop; one that raises stops where it does."""

    def empty() -> None:
        for name in names:
            projections.make_empty(projections.standing(name).projecting)
            projections.note(name, -1, None)

    session.transact(empty)
    for name in names:
        standing = projections.standing(name)
        standing.checkpoint, standing.error = -1, None
        while _runs(standing) and not stop() and (events := reader.all(standing.checkpoint, PAGE)):
            projections.apply_page(standing, events)


def _runs(standing: Standing) -> bool:
    return standing.error is None  # it changes where a checker of types does not see it
