"""The messages of the corpus that moved: a component owns what its module defines."""

from pydantic import BaseModel, Field

from microlith import Component, Event


class Line(BaseModel):
    """A part of a message."""

    key: str
    value: float | None


class NoteAdded(Event):
    """Declared by "prices" in the first two epochs, now by "notes"."""

    text: str
    lines: list[Line] = Field(default_factory=list)


def declared_notes() -> Component:
    """Declare the component."""
    notes = Component("notes")

    @notes.handles(NoteAdded)
    async def read_note(event: NoteAdded) -> None:
        """Take it."""

    return notes
