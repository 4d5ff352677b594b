"""What the processes that share one store need of each other.

All of them commit to it. One leads: it does what only one may do, such as to hand events to their handlers. When it goes,
another one leads.
"""

from collections.abc import Callable
from typing import Protocol

from microlith.errors import StoreError


class LedElsewhereError(StoreError):
    """Only the process that leads may do this, and this one does not lead."""

    def __init__(self, what: str, leader: str) -> None:
        super().__init__(
            f"{what} is for the process that leads, which is {leader or 'not there just now'}.",
            hint="Several processes share this store; ask that one."
            if leader
            else "Try again in some seconds: another one will lead.",
        )


class Sharing(Protocol):
    """One process's part in a shared store."""

    @property
    def leader(self) -> str:
        """Who leads, as it said itself; "" while nobody does."""
        ...

    def watch(self, wrote: Callable[[int], None]) -> None:
        """Have a function called when others have committed, with the last global position of the log.

        It is called on the loop that opened the store, in the order of the commits, those of this process among them: what
        others appended before a commit of this process is told before `done` is called for that.
        """
        ...

    async def lead(self) -> None:
        """Return when this process leads: at once, or when nobody has led for some seconds.

        What fails is tried again for as long as it takes.

        Raises:
            StoreUnavailableError: The store was closed first, or writes no more.
        """
        ...

    def give_up(self, error: StoreError) -> None:
        """Write nothing more, and let another process lead: what a leader needs cannot be had here."""
        ...

    async def newest_letter(self) -> int:
        """Return the sequence of the newest dead letter; 0 for none."""
        ...

    async def claim(self, handler: str, key: str) -> int | None:
        """Wait until no other process handles a message of this key; from then on none will, until `let_go`.

        A claim goes with its process, and with a connection that is lost.

        Args:
            handler: Who handles it, such as "auth.login"; one name for all handlers that share their keys.
            key: What a store keeps of the key.

        Returns:
            How many dead letters of the handler have this key; None when this process had claimed it already, and knows.
        """
        ...

    def let_go(self, handler: str, key: str) -> None:
        """End a claim. As often as it was claimed."""
        ...
