"""Numbers with their nouns: 1 message, 2,000 messages.

As in the runtime, which a client of a running microlith does not import.
"""


def plural(count: int, noun: str) -> str:
    """Write a number with its noun: 1 message, 2,000 messages, 2 queries."""
    many = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}es" if noun.endswith("ss") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else many}"
