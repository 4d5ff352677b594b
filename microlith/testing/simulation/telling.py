"""What a failed simulation tells: the seed, what was broken, the tree of messages, and how to run it again."""

import os

from microlith.envelope import Envelope
from microlith.ids import short_id
from microlith.testing.simulation.history import History

_TREE_LINES = 60
_LAST_LINES = 40


class SimulationFailedError(AssertionError):
    """A simulation broke a promise.

    Attributes:
        seed: The seed that finds it again.
        violations: What was broken.
        history: Everything that happened, a line for each.
    """

    def __init__(self, seed: int, history: History, *, repeats: bool) -> None:
        self.seed = seed
        self.violations = list(history.violations)
        self.history = list(history.lines)
        again = (
            ""
            if repeats
            else (
                "\nA second run with this seed went differently: something in it follows neither the clock nor the seed, "
                "such as datetime.now(), uuid4() or os.urandom()."
            )
        )
        super().__init__(
            f"Seed {seed} breaks a promise:\n"
            + "\n".join(f"  - {one}" for one in self.violations[:20])
            + f"\n\nMessages:\n{tree(history)}\n\nThe end of the history:\n"
            + "\n".join(self.history[-_LAST_LINES:])
            + f"\n\nRun it again: {_command(seed)}{again}"
        )


def _command(seed: int) -> str:
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    return f"MICROLITH_SEED={seed} python -m pytest '{test}'" if test else f"simulate(..., seed={seed})"


def tree(history: History) -> str:
    """Draw every message under the one that caused it, with who handled it and how. Those that were named first."""
    children: dict[str | None, list[Envelope[object]]] = {}
    for envelope in history.envelopes.values():
        parent = envelope.causation_id if envelope.causation_id in history.envelopes else None
        children.setdefault(parent, []).append(envelope)
    broken = "\n".join(history.violations)

    def named(root: Envelope[object]) -> bool:
        members = [one for one in history.envelopes.values() if one.correlation_id == root.correlation_id]
        return any(short_id(one.message_id) in broken for one in members)

    lines: list[str] = []

    def draw(envelope: Envelope[object], depth: int) -> None:
        indent = "  " * depth
        lines.append(f"  {indent}{type(envelope.message).__name__} {short_id(envelope.message_id)}")
        for message_id, handler, outcome, error in history.handled:
            if message_id == envelope.message_id:
                lines.append(f"  {indent}  > {handler} {outcome} {error}".rstrip())
        for child in children.get(envelope.message_id, ()):
            draw(child, depth + 1)

    for root in sorted(children.get(None, ()), key=lambda root: not named(root)):
        if len(lines) < _TREE_LINES:
            draw(root, 0)
    return "\n".join(lines[:_TREE_LINES]) or "  none"
