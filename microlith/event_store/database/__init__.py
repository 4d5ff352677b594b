"""What the event stores in databases have in common.

`store` is what the application sees; behind it a write goes `writer` → `batch` → `session`, a read `reading` → `codec`.
What a database does in a way of its own lies beside this package, one package for each: its connections and what their
errors mean, its owner, its keys, its dialect. Each statement has one name, and a text for each database.

Imports no driver.
"""
