"""Sales: takes orders and sees them through, or gives them up."""

from microlith import Component

sales = Component("sales")
