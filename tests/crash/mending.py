"""An application whose one handler fails, ends the process, or works, as its process is told."""

import asyncio
import os
import sys
from contextlib import suppress

from microlith import Command, Component, Event, HandlerFailedError, Microlith


class Mend(Command):
    """Ask for a repair."""


class MendedEvent(Event):
    """It was repaired."""


def make_shop(directory: str, mode: str) -> Microlith:
    """Declare the application on a SQLite store in a directory; `mode` is fail, die or work."""
    shop = Component("shop")

    @shop.handles(Mend)
    async def mend(command: Mend) -> MendedEvent:
        if mode == "fail":
            raise ValueError("no tools")
        if mode == "die":
            os._exit(9)
        return MendedEvent()

    return Microlith("shop", [shop], store=f"sqlite:{directory}/events.db")


async def main(directory: str, mode: str) -> None:
    """Make a dead letter, or try the only one there is again and die right after."""
    async with make_shop(directory, mode) as app:
        if mode == "fail":
            with suppress(HandlerFailedError):
                await app.command_bus.execute(Mend(), until=MendedEvent)
            return
        (letter,) = await app.store.dead_letters()
        await app.retry_dead_letter(letter.sequence)
        os._exit(7)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
