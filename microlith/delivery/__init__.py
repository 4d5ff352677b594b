"""Delivery: the one way of a message from dispatch to its handlers and on.

`receipts` is what a sender holds, `routes` says who takes what, `delivery` accepts and delivers,
`completion` takes what handlers return, `recovery` carries on what an earlier process left, `timers`
sends what is to be sent later.
"""

from microlith.delivery.completion import HandlerCompletion
from microlith.delivery.delivery import Delivery
from microlith.delivery.receipts import Receipt
from microlith.delivery.routes import Route, Routes
from microlith.delivery.timers import ScheduledReceipt

__all__ = ["Delivery", "HandlerCompletion", "Receipt", "Route", "Routes", "ScheduledReceipt"]
