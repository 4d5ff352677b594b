"""Keys: one for each subject, made with the first message about it.

A key that was just made lies in memory until the store has written it; the store does so before it writes the message.
What is kept names no subject: a subject is known by a digest that only the key's own place can make.

Says nothing about where keys are kept: that is a `KeyPlace`, and each store has its own.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Protocol

from microlith.errors import MicrolithError, StoreError

if TYPE_CHECKING:
    from microlith.privacy.sealing import Key

REMEMBERED = 10_000
"""How many keys are remembered at most."""
_TAG_BYTES = 16


class KeysClosedError(MicrolithError):
    """A message with personal fields is written or read where no store with its keys is open."""

    def __init__(self, type_name: str) -> None:
        super().__init__(
            f"{type_name} has personal fields, and no store with their keys is open.",
            hint="Write and read such messages while the application runs.",
        )


class MissingKeyError(StoreError):
    """A personal field cannot be read, and its subject was not erased."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"The key of a personal field is missing, although its subject was not erased{f' ({where})' if where else ''}.",
            hint="The keys are older than the events: restore keys.db from a newer backup.",
        )


class KeyRow(NamedTuple):
    """A key as it is kept: by what its subject is found, its id, and the key itself."""

    tag: bytes
    id: bytes
    secret: bytes


class KeyPlace(Protocol):
    """Where keys are kept. Any thread may ask, one at a time."""

    pepper: bytes
    """Random; makes subjects into tags that nobody else can guess."""

    def by_tag(self, tag: bytes) -> KeyRow | None:
        """Find the key of a subject."""
        ...

    def by_id(self, key_id: bytes) -> KeyRow | None:
        """Find a key."""
        ...

    def is_destroyed(self, key_id: bytes) -> bool:
        """Tell whether there was such a key, and it was destroyed."""
        ...

    def keep(self, rows: Sequence[KeyRow]) -> None:
        """Keep new keys, durably when this returns."""
        ...

    def destroy(self, tags: Collection[bytes]) -> None:
        """Destroy keys and note that an erasure is unfinished, both or neither; leave no copy behind."""
        ...

    def finish(self) -> None:
        """Note that no erasure is unfinished."""
        ...

    @property
    def unfinished(self) -> bool:
        """Whether an erasure was begun and not finished."""
        ...


class KeyRing:
    """The keys of an open store; those used lately lie in memory. Any thread may ask.

    Attributes:
        hidden: Whether it opens nothing, see `NoKeys`.
        fresh: Keys that were made and not kept yet, by subject.
        erasures: Odd from the beginning of an erasure to its end; grows with both.
    """

    def __init__(self, place: KeyPlace) -> None:
        self.fresh: dict[str, Key] = {}
        self.erasures = 0
        self.hidden = isinstance(place, NoKeys)
        self._place = place
        self._by_subject: dict[str, Key] = {}
        self._by_id: dict[bytes, Key] = {}
        self._lock = Lock()

    @property
    def unfinished(self) -> bool:
        """Whether an erasure was begun and not finished."""
        return self._place.unfinished

    def key_for(self, subject: str) -> "Key":
        """Return the key of a subject; make one when there is none."""
        key = self._by_subject.get(subject)
        if key is not None:
            return key
        with self._lock:
            key = self._by_subject.get(subject) or self.fresh.get(subject)
            if key is None:
                row = self._place.by_tag(self._tag(subject))
                key = self._key(row)
                if key is None:
                    key = self.fresh[subject] = _new_key()
            self._remember(subject, key)
            return key

    def key_of(self, key_id: bytes, where: str = "") -> "Key | None":
        """Return a key by its id; None when it was destroyed.

        Raises:
            MissingKeyError: There is none, and it was not destroyed.
        """
        key = self._by_id.get(key_id)
        if key is not None:
            return key
        with self._lock:
            key = self._key(self._place.by_id(key_id)) or next(
                (one for one in self.fresh.values() if one.id == key_id), None
            )
            if key is None:
                if not self._place.is_destroyed(key_id):
                    raise MissingKeyError(where)
                return None
            self._remember(None, key)
            return key

    def keep(self) -> None:
        """Have the place keep the keys that were made since the last time. Whoever writes messages calls it first."""
        with self._lock:
            rows = [KeyRow(self._tag(subject), key.id, key.secret) for subject, key in self.fresh.items()]
            if rows:
                self._place.keep(rows)
                self.fresh.clear()

    def ids(self, subjects: Collection[str]) -> Mapping[str, bytes]:
        """Return the ids of the keys that some subjects have; none for those unknown or erased."""
        self.keep()
        with self._lock:
            rows = {subject: self._place.by_tag(self._tag(subject)) for subject in subjects}
        return {subject: row.id for subject, row in rows.items() if row is not None}

    def begin(self) -> None:
        """Note that an erasure begins. On the loop, as `end`."""
        self.erasures |= 1

    def end(self) -> None:
        """Note that the store holds nothing of what was erased."""
        self.erasures += 1

    def destroy(self, subjects: Collection[str]) -> None:
        """Destroy the keys of subjects, for good. Until `finish`, an erasure counts as unfinished."""
        self.keep()
        with self._lock:
            try:
                self._place.destroy([self._tag(subject) for subject in subjects])
            finally:
                self._by_subject.clear()
                self._by_id.clear()

    def finish(self) -> None:
        """Note that nothing of the erased fields is left anywhere."""
        with self._lock:
            self._place.finish()

    def _tag(self, subject: str) -> bytes:
        return blake2b(
            subject.encode("utf-8", "surrogatepass"), key=self._place.pepper, digest_size=_TAG_BYTES
        ).digest()

    def _key(self, row: KeyRow | None) -> "Key | None":
        if row is None:
            return None
        from microlith.privacy.sealing import Key  # noqa: PLC0415 (its library is an extra)

        return self._by_id.get(row.id) or Key(row.id, row.secret)

    def _remember(self, subject: str | None, key: "Key") -> None:
        if len(self._by_id) >= REMEMBERED:
            self._by_subject.clear()
            self._by_id.clear()
        self._by_id[key.id] = key
        if subject is not None:
            self._by_subject[subject] = key


class KeysInMemory:
    """Keys of a store in memory."""

    def __init__(self) -> None:
        self.pepper = os.urandom(32)
        self.unfinished = False
        self._rows: dict[bytes, KeyRow] = {}
        self._by_id: dict[bytes, KeyRow] = {}
        self._destroyed: set[bytes] = set()

    def by_tag(self, tag: bytes) -> KeyRow | None:
        """Find the key of a subject."""
        return self._rows.get(tag)

    def by_id(self, key_id: bytes) -> KeyRow | None:
        """Find a key."""
        return self._by_id.get(key_id)

    def is_destroyed(self, key_id: bytes) -> bool:
        """Tell whether a key was destroyed."""
        return key_id in self._destroyed

    def keep(self, rows: Sequence[KeyRow]) -> None:
        """Keep new keys."""
        for row in rows:
            self._rows[row.tag] = self._by_id[row.id] = row

    def destroy(self, tags: Collection[bytes]) -> None:
        """Forget keys."""
        self.unfinished = True
        for tag in tags:
            row = self._rows.pop(tag, None)
            if row is not None:
                del self._by_id[row.id]
                self._destroyed.add(row.id)

    def finish(self) -> None:
        """Note that no erasure is unfinished."""
        self.unfinished = False


class NoKeys(KeysInMemory):
    """Stands for keys that are not to be used: every sealed field reads as erased.

    For whoever shows a log and masks those fields anyhow.
    """

    def is_destroyed(self, key_id: bytes) -> bool:
        """Say so of every key."""
        del key_id
        return True


def _new_key() -> "Key":
    from microlith.privacy.sealing import Key  # noqa: PLC0415 (its library is an extra)

    return Key.new()
