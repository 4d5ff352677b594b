"""How does an order stand?"""

from bookshop.sales.projections.orders import Status
from microlith import Query, Response


class OrderResponse(Response):
    """How it stands; None for an order that was never placed."""

    status: Status | None


class OrderRequest(Query[OrderResponse]):
    """How does this order stand?"""

    order_id: str
