"""Faults: what may go wrong in a simulation, and how often."""

from microlith.errors import WiringError


class Faults:
    """How often what goes wrong. Everything is a probability, but `delay` and `at_most`.

    Attributes:
        delay: Seconds that a commit, and the word of it, take at most; most take much less.
        duplicate: That a message from outside is sent a second time, with the same id, as a sender does that got no answer.
        refuse: That a commit is refused: nothing of it is written, and the store goes on, as on a full disk.
        unknown: That a commit fails half-way: it may be written or not, the store writes no more, and the
            application is started anew, as after an error of the disk.
        crash: That the process dies before a commit, after it, or after telling of it, and is started again
            on what was committed.
        at_most: How many crashes and unknown outcomes there are in a run.
    """

    def __init__(
        self,
        *,
        delay: float = 0.005,
        duplicate: float = 0.0,
        refuse: float = 0.0,
        unknown: float = 0.0,
        crash: float = 0.0,
        at_most: int = 3,
    ) -> None:
        for name, value in {"duplicate": duplicate, "refuse": refuse, "unknown": unknown, "crash": crash}.items():
            if not 0 <= value < 1:
                raise WiringError(
                    f"Faults({name}={value!r}) is no probability.", hint="Write a number from 0 to below 1."
                )
        if delay < 0 or at_most < 0:
            raise WiringError(
                f"Faults(delay={delay!r}, at_most={at_most!r}) makes no sense.", hint="Neither is negative."
            )
        self.delay = delay
        self.duplicate = duplicate
        self.refuse = refuse
        self.unknown = unknown
        self.crash = crash
        self.at_most = at_most

    @classmethod
    def all(cls) -> "Faults":
        """Return some of everything: what microlith's own tests run with."""
        return cls(delay=0.02, duplicate=0.1, refuse=0.01, unknown=0.005, crash=0.01)
