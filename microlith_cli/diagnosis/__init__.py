"""The diagnosis of a project: findings, each with a stable code and what mends it.

`examining` asks and reads, `findings` judges. Shows nothing and mends nothing.
"""
