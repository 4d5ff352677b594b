"""Urls as they may be shown: without their passwords."""

import re

# Up to the last @, for a password may hold one: better to hide too much than a part too little.
_PASSWORD = re.compile(r"(://[^:/@]*:).*@", re.DOTALL)
_SECRET = re.compile(r"(?i)(\b[\w-]*(?:password|passwd|pwd|secret|token|key)=)[^&;\s]*")


def masked(text: str) -> str:
    """Show a url without its passwords: ***, whether before the host or among its options."""
    return _PASSWORD.sub(r"\1***@", _SECRET.sub(r"\1***", text))
