"""Answers how an order stands."""

from bookshop.sales import sales
from bookshop.sales.projections.orders import Order
from bookshop.sales.queries.order import OrderRequest, OrderResponse
from microlith import View


@sales.handles(OrderRequest)
async def order(query: OrderRequest, orders: View[Order]) -> OrderResponse:
    """Look it up."""
    found = await orders.get(query.order_id)
    return OrderResponse(status=None if found is None else found.status)
