"""Projections: fold events into read models.

`read_models` are typed rows beside the event log, `inside` the projections that keep them there, in one commit with
their checkpoint; `outside` are those that write wherever the user likes. All of them only look at events and send
nothing; that is why they can be replayed at any time.
"""

from microlith.projections.inside import Projection
from microlith.projections.outside import ExternalProjection
from microlith.projections.read_models import ReadModel, ReadModelError, Table, View

__all__ = ["ExternalProjection", "Projection", "ReadModel", "ReadModelError", "Table", "View"]
