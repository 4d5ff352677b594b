"""Delivery: the one way of a message from dispatch to its handlers and on.

`receipts` is what a sender holds, `routes` says who takes what, `delivery` accepts and delivers,
`completion` takes what handlers return, `recovery` carries on what an earlier process left.
"""

from microlith.delivery.completion import HandlerCompletion
from microlith.delivery.delivery import Delivery
from microlith.delivery.receipts import Receipt
from microlith.delivery.routes import Route, Routes

__all__ = ["Delivery", "HandlerCompletion", "Receipt", "Route", "Routes"]
