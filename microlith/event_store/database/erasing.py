"""Erasing: keys are destroyed, read models built anew, and the rest overwritten.

The log keeps its bytes, which nobody can open any more. From the destruction of the keys on, an erasure counts as
unfinished until its caller says that it is finished; one that was interrupted is taken up when the store is opened.
"""

import asyncio
from collections.abc import Callable, Collection
from functools import partial

from microlith.errors import HandlerFailedError
from microlith.event_store.database.overwriting import start_over, touched
from microlith.event_store.database.reading import LogReader, Readers
from microlith.event_store.database.rebuilding import Pin, rebuild
from microlith.event_store.database.writer import Writer
from microlith.privacy.keys import KeyRing


async def erase(
    subjects: Collection[str],
    keys: KeyRing,
    writer: Writer,
    reader: LogReader,
    readers: Readers,
    pin: Callable[[], Pin],
) -> list[str]:
    """Destroy the keys of subjects and clean up after them; return the projections that were built anew."""
    keys.begin()
    if subjects:
        await asyncio.to_thread(keys.destroy, subjects)
    # What was sealed with these keys before is written now; a projection folds it in clear one last time.
    await writer.do(writer.settle_left_over)
    reader.forget()
    names = await asyncio.to_thread(touched, writer.projections, reader, readers)
    for name in names:
        try:
            await rebuild(name, writer, reader, pin(), lambda _done, _total: None)
        except HandlerFailedError:  # it does not take what is erased: its old rows may not stay for that
            await writer.do(partial(start_over, writer.session, writer.projections, [name], reader, _never))
    await writer.do(writer.sweep)
    keys.end()
    return names


def _never() -> bool:
    return False
