"""Stock: knows how many copies of each book are on the shelf, and never promises one twice."""

from microlith import Component

stock = Component("stock")
