"""Benchmarks: microlith beside a bare loop that does the same work, and beside its peers.

What counts is a ratio within one run. Start them with `python -m benchmarks`; see README.md.
"""
