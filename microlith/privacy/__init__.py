"""Personal fields: stored under the key of the person they are about, and gone when that key is destroyed.

`marking` says which fields they are, `keys` whose key is which, `sealing` turns values into bytes that say nothing.

Knows no store: where keys are kept is the store's business.
"""

from microlith.privacy.marking import Personal

__all__ = ["Personal"]
