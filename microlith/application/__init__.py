"""The application: components wired to buses, a store and a tracer."""

from microlith.application.microlith import Microlith

__all__ = ["Microlith"]
