"""Tools for testing an application built with microlith."""
