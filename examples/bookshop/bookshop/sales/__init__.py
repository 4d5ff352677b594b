"""Sales: takes orders and sees them through, or gives them up."""

from bookshop.sales.prices import PriceList
from microlith import Component

sales = Component("sales")
sales.provides(PriceList, PriceList)
