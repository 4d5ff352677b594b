"""An application whose one handler has a key, and fails, ends the process, or works, as its process is told."""

import asyncio
import os
import sys

from microlith import Command, Component, Event, Microlith


class Pay(Command):
    """Pay for an order."""

    number: int
    order: str = "a"


class PaidEvent(Event):
    """It was paid."""

    number: int


def make_shop(directory: str, mode: str) -> Microlith:
    """Declare the application on a SQLite store in a directory; `mode` is fail, die or work."""
    shop = Component("shop")

    @shop.handles(Pay, key="order")
    async def pay(command: Pay) -> PaidEvent:
        if mode == "fail":
            raise ValueError("no money")
        if mode == "die" and command.number:
            os._exit(9)
        return PaidEvent(number=command.number)

    return Microlith("shop", [shop], store=f"sqlite:{directory}/events.db")


async def main(directory: str, mode: str) -> None:
    """Make a dead letter with two parked behind it, or have its head tried again and let the others go on."""
    async with make_shop(directory, mode) as app:
        if mode == "fail":
            for number in range(3):
                await app.command_bus.dispatch(Pay(number=number))
        else:
            letters = await app.store.dead_letters()
            if len(letters) == 3:
                await app.retry_dead_letter(letters[0].sequence)
        await app.idle()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
