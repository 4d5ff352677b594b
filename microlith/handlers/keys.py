"""Keys: which messages of a handler must keep their order, and the queue that lets the others overtake.

Messages of one key are handed out one at a time, in the order in which they came; those of different keys, and those
without a key, side by side.

Knows nothing of handling; see `lanes`.
"""

import logging
import typing
from collections import deque
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any

from pydantic import BaseModel, SecretBytes, SecretStr

from microlith.context import Handling
from microlith.envelope import Envelope
from microlith.errors import WiringError, nearest
from microlith.messages import Message
from microlith.privacy.marking import personal_fields

logger = logging.getLogger("microlith")

_SMALL = 1000

KeyOf = Callable[[Envelope[Any]], str | None]
"""Tells the key of a message in its envelope; None: it has none."""


class KeyFieldError(WiringError):
    """A handler's key names no field that could be one."""


def key_of_field(message: type[Message], path: str) -> KeyOf:
    """Make what tells the key of a message: a field of it, or with dots a field of a model in it.

    A key is the field's value as text; where it is None, the message has no key.

    Raises:
        KeyFieldError: There is no such field, or it is a secret or personal: keys are not.
    """
    names = path.split(".")
    if names[0] in personal_fields(message):
        raise KeyFieldError(
            f"{message.__name__}.{names[0]} is personal, and no key.",
            hint="What a dead letter keeps of its key outlives an erasure: name an id.",
        )
    models: list[type[BaseModel]] = [message]
    for name in names:
        found = [model.model_fields[name].annotation for model in models if name in model.model_fields]
        if not found:
            close = nearest(name, [field for model in models for field in model.model_fields])
            raise KeyFieldError(
                f"{message.__name__} has no field {path!r} that could be a key.",
                hint=f"Did you mean {close!r}?" if close else "Name a field of the message, such as key='order_id'.",
            )
        classes = [cls for annotation in found for cls in _classes_in(annotation)]
        if any(issubclass(cls, SecretStr | SecretBytes) for cls in classes):
            raise KeyFieldError(f"{message.__name__}.{path} is a secret, and no key.", hint="Name another field.")
        models = [cls for cls in classes if issubclass(cls, BaseModel)]

    def key_of(envelope: Envelope[Any]) -> str | None:
        value = envelope.message
        for name in names:
            value = getattr(value, name, None)
        return None if value is None else str(value)

    return key_of


def digest(key: str) -> str:
    """Return what a store keeps of a key: enough to tell it from others, and nothing of what it says."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


class Positions:
    """The positions of a lane that are not done with. Most are added in growing order, and then all is quick."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._listed: set[int] = set()
        self._order: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[int]:
        """Go through them, the lowest first."""
        while self._order and self._order[0] not in self._open:
            self._listed.discard(self._order.popleft())
        return (position for position in self._order if position in self._open)

    def add(self, position: int) -> None:
        """Note one; one that was done with and is not after all may come again."""
        self._open.add(position)
        if position in self._listed:
            return
        self._listed.add(position)
        if not self._order or position > self._order[-1]:
            self._order.append(position)
        elif position < self._order[0]:
            self._order.appendleft(position)
        else:
            self._order = deque(sorted(self._listed))

    def discard(self, position: int) -> None:
        """Be done with one."""
        self._open.discard(position)
        if not self._open and self._listed:
            self._listed.clear()  # nobody goes through them while one comes after the other
            self._order.clear()
        elif len(self._listed) > _SMALL + 2 * len(self._open):  # a low one stays open for long, and hides the others
            self._listed = set(self._open)
            self._order = deque(sorted(self._open))


class KeyedQueue:
    """A lane's queue whose messages have keys. `append`, `popleft` and so on are those of a deque.

    Attributes:
        open: Positions that are not done with, in the queue or with a worker.
        blocked: Digests of keys with dead letters, and how many each has: what comes is parked behind them.
        left: Digests of keys of which a message could not be settled: what comes is left for the next start, too.
    """

    def __init__(self, key_of: KeyOf) -> None:
        self.open = Positions()
        self.blocked: dict[str, int] = {}
        self.left: set[str] = set()
        self._key_of = key_of
        self._ready: deque[Handling] = deque()
        # A key that is here is taken: one message of it is ready, or with a worker. Most have nothing that waits.
        self._waiting: dict[str, deque[Handling] | None] = {}
        self._held_back = 0

    def __bool__(self) -> bool:
        """Tell whether a message can be taken now."""
        return bool(self._ready)

    def __len__(self) -> int:
        return len(self._ready) + self._held_back

    def __iter__(self) -> Iterator[Handling]:
        yield from self._ready
        for waiting in self._waiting.values():
            yield from waiting or ()

    def key_of(self, handling: Handling) -> str | None:
        """Tell the key of a message."""
        try:
            return self._key_of(handling.envelope)
        except Exception:
            logger.exception("%s: the key of a message could not be told; it goes without", handling.handler)
            return None

    def digest_of(self, handling: Handling) -> str | None:
        """Return what a store keeps of a message's key."""
        key = self.key_of(handling)
        return None if key is None else digest(key)

    def stands_behind(self, handling: Handling) -> bool:
        """Tell whether a message must not be handled, since one before it in its key is not done with."""
        if not (self.blocked or self.left) or handling.letter is not None:
            return False
        key = self.digest_of(handling)
        return key in self.blocked or key in self.left

    def block(self, key: str | None) -> None:
        """Note that a message of a key has become a dead letter, or is parked behind one."""
        if key is not None:
            self.blocked[key] = self.blocked.get(key, 0) + 1

    def know(self, key: str, letters: int) -> None:
        """Take over how many dead letters a key has, as the store says."""
        if letters:
            self.blocked[key] = letters
        else:
            self.blocked.pop(key, None)

    def unblock(self, key: str) -> bool:
        """Note that a dead letter of a key is gone; tell whether there are more."""
        left = self.blocked.pop(key, 0) - 1
        if left > 0:
            self.blocked[key] = left
        return left > 0

    def append(self, handling: Handling) -> None:
        """Add a message behind those of its key."""
        self._add(handling, first=False)

    def appendleft(self, handling: Handling) -> None:
        """Add a message before those of its key that wait."""
        self._add(handling, first=True)

    def popleft(self) -> Handling:
        """Take the next message; its key stays taken until `done`."""
        return self._ready.popleft()

    def done(self, handling: Handling) -> None:
        """Let the next message of a key come."""
        key = self.key_of(handling)
        if key is None:
            return
        waiting = self._waiting.get(key)
        if waiting:
            self._held_back -= 1
            self._ready.append(waiting.popleft())
        else:
            self._waiting.pop(key, None)

    def _add(self, handling: Handling, *, first: bool) -> None:
        if handling.position is not None:
            self.open.add(handling.position)  # from here on: a later one that is done must not hide it
        key = self.key_of(handling)
        if key is None:
            self._ready.append(handling)
        elif key not in self._waiting:
            self._waiting[key] = None
            self._ready.append(handling)
        else:
            waiting = self._waiting[key]
            if waiting is None:
                waiting = self._waiting[key] = deque()
            self._held_back += 1
            if first:
                waiting.appendleft(handling)
            else:
                waiting.append(handling)


def _classes_in(annotation: Any) -> Iterator[type[Any]]:
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        yield annotation
    else:
        for argument in typing.get_args(annotation):
            yield from _classes_in(argument)
