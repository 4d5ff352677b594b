"""The pytest plugin: fixtures for an application under test."""
