"""Followers: clients that are shown facts as they happen, each through its own filter.

They belong to the supervisor, so a reload goes by without cutting them off. How much a slow one
misses is the control channel's to count.

Keeps no facts.
"""

from collections.abc import Callable, Sequence
from typing import Any

from microlith_cli.errors import UsageError
from microlith_cli.filtering import compile_filter

Fact = dict[str, Any]
Send = Callable[[Fact], object]


class Followers:
    """Who follows now, by request."""

    def __init__(self) -> None:
        self._followers: dict[str, tuple[Callable[[Fact], bool], Send]] = {}

    def __len__(self) -> int:
        return len(self._followers)

    def add(self, key: str, asked: object, send: Send) -> None:
        """Begin to show a client what passes its filter.

        Raises:
            UsageError: What it asked for is no filter.
        """
        if not isinstance(asked, str):
            raise UsageError("A filter is a text, such as 'type:Login* status:failed'.")
        self._followers[key] = (compile_filter(asked), send)

    def remove(self, key: str) -> None:
        """Stop. Safe to call twice."""
        self._followers.pop(key, None)

    def show(self, facts: Sequence[Fact]) -> None:
        """Show facts to everyone they are for."""
        for passes, send in list(self._followers.values()):
            for fact in facts:
                if passes(fact):
                    send(fact)
