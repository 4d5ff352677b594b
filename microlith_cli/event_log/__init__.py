"""The event log as lines: each event one CloudEvents 1.0 object, and the answers to who asks for some of them.

Reads any store, open or at rest; changes none.
"""
