"""Tracing: what was sent and handled, when, and with what outcome.

The tracer gathers facts in the process; the trace log keeps them in a bounded file. Nothing
depends on either: a fact that would slow the application down is dropped and counted.
"""
