"""Retries: how often a failing handler tries again, and how long it pauses in between.

The message keeps its place in its lane while it is tried again, so that order is kept. Each try
is counted in the store before it begins; after the last one the message is a dead letter.
"""

from microlith.errors import WiringError


class Retry:
    """A retry policy.

    Attributes:
        attempts: How often a message is tried in all.
        first: Seconds before the second try.
        factor: By how much each pause is longer than the one before.
        longest: Seconds that a pause lasts at most.
        on: Errors that are worth another try; others fail at once.
    """

    def __init__(
        self,
        attempts: int = 5,
        *,
        first: float = 0.1,
        factor: float = 2.0,
        longest: float = 30.0,
        on: tuple[type[BaseException], ...] = (Exception,),
    ) -> None:
        if attempts < 1 or first < 0 or factor < 1 or longest < 0:
            raise WiringError(
                f"Retry(attempts={attempts}, first={first:g}, factor={factor:g}, longest={longest:g}) makes no sense.",
                hint="attempts is at least 1, factor at least 1, first and longest are seconds.",
            )
        self.attempts = attempts
        self.first = first
        self.factor = factor
        self.longest = longest
        self.on = on

    def again(self, attempt: int, error: BaseException) -> bool:
        """Tell whether a message is tried again after this attempt (from 1) ended with this error."""
        return attempt < self.attempts and isinstance(error, self.on)

    def pause(self, attempt: int) -> float:
        """Return the seconds between this attempt (from 1) and the next."""
        return float(min(self.longest, self.first * self.factor ** min(attempt - 1, 64)))
