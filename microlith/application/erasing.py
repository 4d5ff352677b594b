"""Erasing subjects: what is stored about them is counted, their keys are destroyed, and what was kept in clear goes.

Order: keys, read models and the rest of the store, read models elsewhere, trace log, memory. From the first step on an
erasure is finished by whoever starts the application next, if this process does not.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from microlith.application.following import Followers
from microlith.application.outside import OutsideFollower
from microlith.application.wiring import Wiring
from microlith.delivery import Delivery
from microlith.errors import HandlerFailedError, MicrolithError, PayloadError, UnknownTypeError
from microlith.event_store.protocol import EventStore, RecordedEvent
from microlith.event_store.schedule import FIRST
from microlith.messages import Message
from microlith.plurals import plural
from microlith.privacy.keys import KeyRing
from microlith.privacy.marking import MARK, Fields, personal_fields
from microlith.projections import ExternalProjection
from microlith.secrecy import reveal
from microlith.serialization import MessageTypes
from microlith.tracing.log import remove_trace_log

_PAGE = 500


class UnknownSubjectError(MicrolithError):
    """Nothing is stored under the key of a subject.

    Attributes:
        subject: The first such subject.
        plain: How many events hold fields about the subjects in clear, from before these were marked as personal.
    """

    def __init__(self, subject: str, plain: int) -> None:
        in_clear = (
            f" {plural(plain, 'event')} {'holds' if plain == 1 else 'hold'} fields about it in clear, from before these were marked."
            if plain
            else ""
        )
        super().__init__(
            f"No personal field is stored for {subject!r}, or it was erased before. Nothing was erased.{in_clear}",
            hint="A subject is named exactly as in the field that the mark names.",
        )
        self.subject = subject
        self.plain = plain


class Erasure:
    """What is erased, or would be.

    Attributes:
        subjects: Whose fields.
        events: How many events hold sealed fields of theirs.
        commands: How many commands that are not settled.
        dead_letters: How many dead letters.
        schedules: How many messages that are to be sent later.
        plain: How many events, dead letters and scheduled messages hold fields of theirs in clear, from before these
            were marked as personal. No erasure reaches them.
        projections: Those that were built anew.
        outside: Projections that take personal fields, keep their rows somewhere else and say how they are emptied:
            the erasure empties them, and builds them anew.
        elsewhere: Those that do not say so, or could not be emptied: not erased there.
        stopped: Those built anew that could not take what is erased, with the error they stopped at.
        done: Whether it was done, or only counted.
    """

    def __init__(self, subjects: Collection[str]) -> None:
        self.subjects = tuple(subjects)
        self.events = 0
        self.commands = 0
        self.dead_letters = 0
        self.schedules = 0
        self.plain = 0
        self.projections: tuple[str, ...] = ()
        self.outside: tuple[str, ...] = ()
        self.elsewhere: tuple[str, ...] = ()
        self.stopped: Mapping[str, str] = {}
        self.done = False

    def __repr__(self) -> str:
        return f"Erasure({', '.join(self.subjects)}: {'done' if self.done else 'not done'})"


class Erasing:
    """The erasures of one running application.

    Args:
        delivery: Its running heart.
        wiring: What it is made of.
        followers: What follows the log with its projections.
        trace_directory: Where its trace log is; None: nowhere.
    """

    def __init__(self, delivery: Delivery, wiring: Wiring, followers: Followers, trace_directory: Path | None) -> None:
        self._delivery = delivery
        self._wiring = wiring
        self._followers = followers
        self._types = wiring.types
        self._trace_directory = trace_directory
        self._one_at_a_time = asyncio.Lock()

    async def erase(self, subjects: Collection[str], *, dry_run: bool) -> Erasure:
        """Erase subjects, or only count.

        Raises:
            UnknownSubjectError: Nothing is stored under the key of one of them; nothing was erased.
        """
        async with self._one_at_a_time:
            store, keys = self._delivery.store, self._types.keys
            if keys is not None and keys.unfinished:  # an earlier one was interrupted
                await store.erase(())
                await self._clean_up(keys)
            await store.flush()
            if store.durability == "memory":
                await self._have_sealed(store)
            ids = {} if keys is None else await asyncio.to_thread(keys.ids, subjects)
            counted = await _Survey(store, self._types, subjects, ids).count()
            unknown = next((one for one in subjects if one not in ids), None)
            if unknown is not None:
                raise UnknownSubjectError(unknown, counted.plain)
            outside = self._outside()
            counted.outside = tuple(follower.name for follower in outside if follower.has_reset)
            counted.elsewhere = tuple(follower.name for follower in outside if not follower.has_reset)
            if not dry_run and keys is not None:
                await self._erase(counted, store, keys, [follower for follower in outside if follower.has_reset])
            return counted

    async def _erase(
        self, erasure: Erasure, store: EventStore, keys: KeyRing, outside: Sequence[OutsideFollower]
    ) -> None:
        """Do what was counted. Those outside fold nothing from before the keys are gone until they begin anew."""
        async with AsyncExitStack() as held:
            for follower in outside:
                await held.enter_async_context(follower.beginning_anew())
            inside = await store.erase(erasure.subjects)
        for follower in outside:
            with suppress(HandlerFailedError):  # what it stopped at is found below
                await follower.whole(lambda _done, _all: None)
        await self._clean_up(keys)
        erasure.projections = (*inside, *erasure.outside)
        states = {one.name: one for one in await store.projection_states() if one.name in erasure.projections}
        erasure.stopped = {name: state.error for name, state in states.items() if state.error is not None}
        unemptied = (name for name in erasure.outside if name in states and states[name].checkpoint < -1)
        erasure.elsewhere = (*erasure.elsewhere, *unemptied)
        erasure.done = True

    def _outside(self) -> list[OutsideFollower]:
        """List what keeps rows with personal fields outside of the store."""
        followers = (
            self._followers.of(projection.name)
            for projection in self._wiring.projections
            if isinstance(projection, ExternalProjection) and any(map(personal_fields, projection.events))
        )
        return [follower for follower in followers if isinstance(follower, OutsideFollower)]

    async def _have_sealed(self, store: EventStore) -> None:
        """Have everything sealed: a store in memory does that when it is asked for bytes, and keys are made by it."""
        position = -1
        while page := await store.read_all(after=position, limit=_PAGE):
            position = page[-1].position
            for event in page:
                _ = event.data
        for pending in await store.pending_commands(limit=1_000_000):
            self._types.encode(pending.envelope.message, pending.envelope.message_id)

    async def _clean_up(self, keys: KeyRing) -> None:
        """Remove what lies outside the store, and say that all is done."""
        delivery = self._delivery
        delivery.tracer.forget()
        delivery.answers.clear()
        for _ in range(3):  # lets the writer of the trace log take what it was handed before
            await asyncio.sleep(0)
        await finish(keys, self._trace_directory)


async def finish(keys: KeyRing, trace_directory: Path | None) -> None:
    """Do the last steps of an erasure: they are done by the next start, too, after an interruption."""
    if trace_directory is not None:
        await asyncio.to_thread(remove_trace_log, trace_directory)
    await asyncio.to_thread(keys.finish)


class _Survey:
    """Counts what is stored about some subjects."""

    def __init__(
        self, store: EventStore, types: MessageTypes, subjects: Collection[str], ids: Mapping[str, bytes]
    ) -> None:
        self._store = store
        self._types = types
        self._subjects = frozenset(subjects)
        self._ids = frozenset(ids.values())
        self._found = Erasure(subjects)

    async def count(self) -> Erasure:
        """Walk the log, the commands, the dead letters and what is scheduled."""
        found, store = self._found, self._store
        position = -1
        while page := await store.read_all(after=position, limit=_PAGE):
            position = page[-1].position
            await asyncio.to_thread(self._count_events, page)
        sequence = -1
        while waiting := await store.pending_commands(after=sequence, limit=_PAGE):
            sequence = waiting[-1].sequence
            found.commands += sum(self._names_in(one.envelope.message) != set() for one in waiting)
        sequence = 0
        while letters := await store.dead_letters(after=sequence, limit=_PAGE):
            sequence = letters[-1].sequence
            for letter in letters:
                sealed = self._sealed(letter.data)
                found.dead_letters += not self._ids.isdisjoint(sealed.values())
                with suppress(MicrolithError):
                    if self._is_personal(letter.component, letter.type) and not sealed:
                        found.plain += bool(self._names_in((await store.dead_message(letter)).message))
        await self._count_schedules()
        return found

    async def _count_schedules(self) -> None:
        turn = FIRST
        while page := await self._store.schedules(after=turn, limit=_PAGE):
            turn = page[-1].turn
            for schedule in page:
                sealed = self._sealed(schedule.data)
                self._found.schedules += not self._ids.isdisjoint(sealed.values())
                with suppress(MicrolithError):  # what cannot be read is not known to be about anybody
                    if self._is_personal(schedule.component, schedule.type) and not sealed:
                        self._found.plain += bool(self._names_in(schedule.envelope.message))

    def _count_events(self, page: Collection[RecordedEvent]) -> None:
        for event in page:
            sealed = self._sealed(event.data)
            if not self._ids.isdisjoint(sealed.values()):
                self._found.events += 1
            if self._is_personal(event.component, event.type):
                with suppress(PayloadError, UnknownTypeError):  # what cannot be read is not known to be about anybody
                    self._found.plain += bool(self._names_in(event.message) - set(sealed))

    def _sealed(self, data: bytes) -> Mapping[str, bytes]:
        if MARK not in data:
            return {}
        from microlith.privacy.payload import sealed_ids  # noqa: PLC0415 (its library is an extra)

        return sealed_ids(data)

    def _is_personal(self, component: str, name: str) -> bool:
        entry = self._types.current(component, name)
        return entry is not None and bool(entry.personal)

    def _names_in(self, message: Message) -> set[str]:
        """Name the personal fields of a message that are about one of the subjects."""
        fields: Fields = personal_fields(type(message))
        shape: dict[str, Any] = reveal(message) if fields else {}
        return {
            name
            for name, field in fields.items()
            if shape.get(name) not in (None, field.erased) and field.subject_in(shape) in self._subjects
        }
