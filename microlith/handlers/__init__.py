"""Handlers: found at start, injected, run in lanes, timed.

`declared` says what a handler is, `injection` fills its parameters, `lanes` runs it.
"""
