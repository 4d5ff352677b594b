"""Aggregates: state that is folded from one stream, and decisions that add events to it.

Two forms of one thing. An `Aggregate` is a class whose methods decide and evolve; a `Decider` is
two functions. Either way a command is decided on the newest state of its stream, one command of a
stream at a time, and its events are appended only if nobody came first.
"""

from microlith.aggregates.aggregate import Aggregate, decider_of, decides, evolves
from microlith.aggregates.decider import AggregateError, Decider
from microlith.aggregates.deciding import handlers_of
from microlith.aggregates.streams import Streams

__all__ = ["Aggregate", "AggregateError", "Decider", "Streams", "decider_of", "decides", "evolves", "handlers_of"]
