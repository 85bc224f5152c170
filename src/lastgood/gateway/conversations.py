"""Which version a conversation with a Dify app began on: kept in the store of runs, shared by all workers."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, NamedTuple

from sqlalchemy import Engine, bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from lastgood.db.runs import pinned_conversation as table

log = logging.getLogger(__name__)

_CACHED: Final = 10_000
# For so long a worker goes by what it read last, where that is what is in service anyway; and it says that a
# conversation goes on at most once in so many seconds.
_FRESH_SECONDS: Final = 30.0
_TOUCH_SECONDS: Final = 86_400.0
_KEPT_SECONDS: Final = 180 * 86_400.0
_TIDY_SECONDS: Final = 3600.0

_FIND: Final = select(table.c.placed_id, table.c.version_id, table.c.generation, table.c.used_at).where(
    table.c.app_id == bindparam("app"), table.c.conversation_id == bindparam("conversation")
)


class Pin(NamedTuple):
    """The version that a conversation is pinned to, Dify's row that held it, and the generation of its channel
    then."""

    placed_id: str
    version_id: str
    generation: int
    used_at: float = 0.0


class Conversations:
    """`books` opens the store of runs; it is called in a thread, again and again while it fails."""

    def __init__(self, books: Callable[[], Engine]) -> None:
        self._open = books
        self._engine: Engine | None = None
        self._cache: OrderedDict[tuple[str, str], tuple[Pin | None, float]] = OrderedDict()
        # One thread: what is kept first is written first.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="conversations")
        self._tidied = time.monotonic()

    async def find(self, app: str, conversation: str, *, live: str | None) -> Pin | None:
        """The pin of `conversation`, None where it has none. What this worker remembers is enough where it says
        `live`, the version in service; else the store is asked, because another worker may have moved it. Raises
        `SQLAlchemyError`, `LastgoodError`."""
        key = (app, conversation)
        known = self._cache.get(key)
        if known is not None and known[0] is not None:
            self._cache.move_to_end(key)
            if known[0].version_id == live and time.monotonic() - known[1] < _FRESH_SECONDS:
                return known[0]
        pin = await asyncio.get_running_loop().run_in_executor(self._thread, self._read, app, conversation)
        self._remember(key, pin)
        return pin

    def keep(self, app: str, conversation: str, pin: Pin) -> "asyncio.Future[None]":
        """Pin `conversation`. It is so from now on in this worker, and everywhere once the result is there, which
        raises what `find` raises."""
        now = time.time()
        self._remember((app, conversation), pin._replace(used_at=now))
        write = partial(self._write, app, conversation, pin, now)
        return asyncio.get_running_loop().run_in_executor(self._thread, write)

    def due(self, pin: Pin) -> bool:
        """Whether it is time to say again that a conversation goes on."""
        return time.time() - pin.used_at > _TOUCH_SECONDS

    def close(self) -> None:
        """Write what is to be written, and let go of the store."""
        self._thread.shutdown()
        if self._engine is not None:
            self._engine.dispose()

    def _remember(self, key: tuple[str, str], pin: Pin | None) -> None:
        self._cache[key] = (pin, time.monotonic())
        self._cache.move_to_end(key)
        if len(self._cache) > _CACHED:
            self._cache.popitem(last=False)

    def _books(self) -> Engine:
        if self._engine is None:
            self._engine = self._open()
        return self._engine

    def _read(self, app: str, conversation: str) -> Pin | None:
        with self._books().connect() as connection:
            row = connection.execute(_FIND, {"app": app, "conversation": conversation}).first()
        return Pin(*row) if row is not None else None

    def _write(self, app: str, conversation: str, pin: Pin, now: float) -> None:
        engine = self._books()
        values: dict[str, Any] = {
            "placed_id": pin.placed_id,
            "version_id": pin.version_id,
            "generation": pin.generation,
            "used_at": now,
        }
        insert: Callable[[Any], Any] = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        into = insert(table).values(app_id=app, conversation_id=conversation, **values)
        into = into.on_conflict_do_update(
            index_elements=["app_id", "conversation_id"],
            set_=values,
            # Two workers may see one conversation at once: what was decided later counts.
            where=table.c.generation <= pin.generation,
        )
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            connection.execute(into)
            if time.monotonic() - self._tidied > _TIDY_SECONDS:
                self._tidied = time.monotonic()
                connection.execute(delete(table).where(table.c.used_at < now - _KEPT_SECONDS))
