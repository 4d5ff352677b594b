"""Process managers (sagas): classes that follow events through time and say what comes next.

`process` is what an author writes, `reading` checks it at start, `running` takes the events.
"""

from microlith.processes.process import Process, ProcessError, ProcessStepped, continues, starts
from microlith.processes.reading import ProcessType, process_type, state_upcaster
from microlith.processes.running import Processes, ProcessStateError, handler_of

__all__ = [
    "Process",
    "ProcessError",
    "ProcessStateError",
    "ProcessStepped",
    "ProcessType",
    "Processes",
    "continues",
    "handler_of",
    "process_type",
    "starts",
    "state_upcaster",
]
