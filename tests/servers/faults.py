"""What can befall a connection, and when; chosen by a seed, so that a run can be had again."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Literal

Way = Literal["to server", "to client"]


class Fault(Enum):
    """What can befall a connection."""

    CUT = "both sides see the end of the stream"
    RESET = "both sides see a reset"
    HALF_OPEN = "both sides stay connected, and nothing passes any more"
    ORPHAN = "the client sees the end and the server sees nothing: the client comes again, and is there twice"
    STALL = "for some time nothing passes, then everything that was sent meanwhile"
    TRICKLE = "for some time every byte is written by itself"


@dataclass(frozen=True)
class Blow:
    """One fault, and when it strikes.

    Args:
        after: Bytes that pass first. A fault can so strike in the middle of a frame.
        way: The direction in which they are counted.
        seconds: How long a stall or a trickle lasts.
    """

    fault: Fault
    after: int = 0
    way: Way = "to server"
    seconds: float = 2.0


def blows(seed: int, count: int, *, longest: float = 2.0) -> Iterator[Blow]:
    """Choose faults of all kinds: the same seed, the same blows.

    Args:
        longest: Seconds that a stall or a trickle lasts at most.
    """
    chance = random.Random(seed)
    ways: tuple[Way, ...] = ("to server", "to client")
    for _ in range(count):
        yield Blow(
            chance.choice(list(Fault)),
            after=chance.choice((0, chance.randrange(1, 8), chance.randrange(8, 2000))),
            way=chance.choice(ways),
            seconds=chance.uniform(longest / 10, longest),
        )
