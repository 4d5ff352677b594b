"""Scaffolding: new files for a project, from the templates.

A request is turned into files (`kinds`), the files into a plan (`planning`), and the plan is applied
whole or not at all (`applying`). It only ever adds files: what is there already is never overwritten.

Never imports the project's code: what it must know of it, it reads from the source.
"""
