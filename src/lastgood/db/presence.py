"""A process that lets itself be listed: the API, the jobs, an engine, a gateway worker on SQLite.

A gateway worker on PostgreSQL, for which moves wait, holds its lease itself (`gateway.lease`)."""

import logging
import threading
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from lastgood.db import process
from lastgood.db.messages import READS
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import LastgoodError

log = logging.getLogger(__name__)

# On SQLite any commit makes each gateway worker look once at the routing revision: beats are rare there.
_BEAT_SECONDS = {"postgresql": 5.0, "sqlite": 10.0}
_BEATS_PER_LEASE = 3


@dataclass(frozen=True, slots=True)
class Part:
    """What a process does: a role, where it listens, and the id that its parent knows it by, if it has one."""

    role: str
    address: str = ""
    id: str | None = None
    capabilities: tuple[str, ...] = READS


class Presence:
    """The rows of a running process, held by a thread of its own: `start` it when the process listens, `close` it
    when it ends. A store that does not answer is no reason to end: it is tried again with the next beat."""

    def __init__(self, store: Store, *parts: Part, beat_seconds: float | None = None) -> None:
        self._store = store
        self._parts = parts
        self._every = beat_seconds or _BEAT_SECONDS[store.engine.dialect.name]
        self._ids: dict[Part, str] = {}
        self._lost = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self) -> None:
        """Enter the process, now and whenever its row was struck, until `close`."""
        if self._parts:
            self._thread.start()

    def close(self) -> None:
        """Strike the process. Where the store does not answer, its lease ends by itself."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(1.0)
        if self._thread.is_alive() or not self._ids:
            return
        try:
            self._store.write(self._leave)
        except (LastgoodError, SQLAlchemyError) as error:
            log.warning("the process stays listed until its lease ends: %s", error)

    def _run(self) -> None:
        while True:
            try:
                self._ids = self._store.write(self._beat)
                self._lost = False
            except (LastgoodError, SQLAlchemyError) as error:
                if not self._lost:
                    log.warning("the store cannot be told that this process lives: %s", error)
                self._lost = True
            if self._over.wait(self._every):
                return

    def _leave(self, tx: Tx) -> None:
        for known in self._ids.values():
            process.leave(tx, known)

    def _beat(self, tx: Tx) -> dict[Part, str]:
        lease = self._every * _BEATS_PER_LEASE
        ids = dict(self._ids)
        for part in self._parts:
            known = ids.get(part)
            if known is None or not process.heartbeat(tx, known, lease_seconds=lease):
                ids[part] = process.register(
                    tx,
                    part.role,
                    id=part.id,
                    address=part.address,
                    capabilities=part.capabilities,
                    lease_seconds=lease,
                )
        return ids
