"""A bookshop: sales take orders, the stock keeps books."""
