"""A project to scaffold into."""

from tests.unit.scaffolding.projects import project

__all__ = ["project"]
