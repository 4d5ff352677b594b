"""What a dispatch keeps of the facts it is told, for the tree: the first messages with their handlings, and failures.

A flood has more than anybody would read; what is left out, here or before, is counted.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

Fact = Mapping[str, Any]

MOST_MESSAGES = 500
MOST_FACTS = 2_000
_DROPPED = "microlith.dropped"


class KeptFacts(Sequence[Fact]):
    """The facts of one dispatch.

    Attributes:
        left_out: How many facts there was no room for.
    """

    def __init__(self) -> None:
        self._facts: list[Fact] = []
        self._messages: set[object] = set()
        self.left_out = 0

    def add(self, fact: Fact) -> None:
        """Take one fact, or count it."""
        if fact.get("type") == _DROPPED:
            self.left_out += fact["data"]["count"]
        elif len(self._facts) >= MOST_FACTS or not self._belongs(fact):
            self.left_out += 1
        else:
            self._facts.append(fact)

    def _belongs(self, fact: Fact) -> bool:
        if "bus" in fact:
            if len(self._messages) >= MOST_MESSAGES:
                return False
            self._messages.add(fact.get("id"))
            return True
        data = fact.get("data")
        ended_well = isinstance(data, Mapping) and data.get("outcome") in {"ok", "ignored"}
        return not ended_well or fact.get("causationid") in self._messages

    @overload
    def __getitem__(self, at: int) -> Fact: ...
    @overload
    def __getitem__(self, at: slice) -> list[Fact]: ...
    def __getitem__(self, at: int | slice) -> Fact | list[Fact]:
        return self._facts[at]

    def __iter__(self) -> Iterator[Fact]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)
