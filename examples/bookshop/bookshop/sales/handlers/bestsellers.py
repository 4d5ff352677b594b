"""Answers what sells best."""

from bookshop.sales import sales
from bookshop.sales.projections.bestsellers import Bestseller
from bookshop.sales.queries.bestsellers import BestsellersRequest, BestsellersResponse, Sold
from microlith import View


@sales.handles(BestsellersRequest)
async def best(query: BestsellersRequest, sold: View[Bestseller]) -> BestsellersResponse:
    """Sort what there is."""
    rows = sorted(await sold.all(), key=lambda row: row.copies, reverse=True)[: query.most]
    return BestsellersResponse(books=[Sold(isbn=row.isbn, copies=row.copies, cents=row.cents) for row in rows])
