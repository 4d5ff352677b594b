"""The microlith: its components, nothing else."""

from microlith import Microlith

app = Microlith("bookshop", components="bookshop")
