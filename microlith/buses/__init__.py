"""The three buses: commands, queries, events.

A bus takes a message of its kind, gives a receipt, and answers waits on a correlation id.
"""

from microlith.buses.answers import Answer
from microlith.buses.bus import Bus, Subscription
from microlith.buses.command_bus import CommandBus
from microlith.buses.event_bus import EventBus
from microlith.buses.query_bus import QueryBus
from microlith.delivery import Receipt

__all__ = ["Answer", "Bus", "CommandBus", "EventBus", "QueryBus", "Receipt", "Subscription"]
