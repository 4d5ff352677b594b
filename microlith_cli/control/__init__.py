"""The control channel: how the tool talks to a running microlith.

A Unix socket in the project's `.microlith` directory, for this user only, that carries lines of
JSON: `lines` is the form, `address` the place, `server` and `client` the two ends.

Never loads code, and knows no verb's meaning.
"""
