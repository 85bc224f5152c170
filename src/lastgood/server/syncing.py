"""The threads that keep permissions in step: they read sources, compare them on schedule, and write our topics. Of
all servers on a store one at a time works on a source, under a lease."""

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any, Final, Protocol

from lastgood.access.sync import consistency, sources
from lastgood.access.sync.consistency import Kind, Report
from lastgood.access.sync.kafka import Reader
from lastgood.access.sync.listing import Given, Lister, lister_of
from lastgood.access.sync.overview import FEED_ROW
from lastgood.access.sync.topic import Writer
from lastgood.catalogue import GrantSource
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.db.tx import Tx, parse_time
from lastgood.errors import InvalidRequest, LastgoodError, ListDoubted, SourceMoved, UnknownSource
from lastgood.release.journal import owner_name
from lastgood.targets.dify import Client

_STEP_SECONDS: Final = 1.0
_LEASE_SECONDS: Final = sources.LEASE_MS / 4000
_SHORTEST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_STOP_SECONDS: Final = 10.0
# Dify's own roles, where `[grants.NAME.roles]` does not say otherwise.
DIFY_ROLES: Final = {"owner": "admin", "admin": "admin", "editor": "editor", "normal": "viewer"}


def principal_of(name: str) -> Principal:
    """Who changes grants as the source `name` says."""
    return Principal(f"grants-{name}", "service")


class _Worker(Protocol):
    """What is done again and again while the lease is held. `step` waits for as long as it sees fit."""

    def step(self) -> None: ...
    def close(self) -> None: ...


class Syncing:
    """Keeps the sources and feeds of `store`'s settings in step. `dify` gives the client of a connected server."""

    def __init__(self, store: Store, dify: Callable[[str], Client]) -> None:
        self._store, self._dify = store, dify
        self._owner = owner_name()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def setting(self, name: str) -> GrantSource:
        """What is declared of the source `name`. Raises `UnknownSource`."""
        found = self._store.settings.grants.get(name)
        if found is None:
            raise UnknownSource(source=name)
        return found

    def check(self, name: str, who: Principal, kind: Kind, *, repair: bool = False, sure: bool = False) -> Report:
        """Compare a source now, as `who` asks. Raises `UnknownSource`, `InvalidRequest` where there is nothing to
        compare with, and what `consistency.check` does."""
        setting = self._with_roles(self.setting(name))
        lister = self._lister(name, setting)
        if lister is None:
            reason = f"{name} tells events only; give grants.{name}.url, where a list is to compare with"
            raise InvalidRequest(where="source", reason=reason)
        return consistency.check(self._store, who, name, setting, lister, kind, repair=repair, sure=sure)

    def run(self) -> None:
        """Begin, in threads of their own."""
        settings = self._store.settings
        for name, setting in settings.grants.items():
            if setting.kind == "kafka" or setting.has_list:
                self._begin(name, setting.kind, partial(self._worker, name))
        for name, feed in settings.feeds.items():
            row = FEED_ROW + name
            self._begin(row, sources.FEED, partial(_Writing, self, name, row, feed))

    def stop(self) -> None:
        """Let each thread finish what it has begun."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(_STOP_SECONDS)

    def _begin(self, row: str, kind: str, make: Callable[[], _Worker]) -> None:
        thread = threading.Thread(target=self._loop, args=(row, kind, make), name=f"grants {row}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _loop(self, row: str, kind: str, make: Callable[[], _Worker]) -> None:
        """Work while the lease is held; what fails is told once, and tried less and less often."""
        fails, told = 0, ""
        while not self._stopping.is_set():
            worker: _Worker | None = None
            try:
                source = self._store.write(lambda tx: sources.ensure(tx, row, kind))
                noted = source.problem  # of a server that read it before, maybe
                renewed = float("-inf")
                while not self._stopping.is_set():
                    if monotonic() - renewed > _LEASE_SECONDS:
                        if not self._take(source):
                            break
                        renewed = monotonic()
                    worker = worker or make()
                    worker.step()
                    if fails or told or noted:
                        print(f"lastgood: {row} goes on", file=sys.stderr)
                        self._note(row, "")
                        fails, told, noted = 0, "", ""
            except SourceMoved:
                pass  # another process reads it: the lease says which
            except Exception as error:
                problem = str(error) if isinstance(error, LastgoodError) else f"{type(error).__name__}"
                if problem != told and not self._stopping.is_set():
                    print(f"lastgood: {row}: {problem}", file=sys.stderr)
                    self._note(row, problem)
                fails, told = fails + 1, problem
            finally:
                if worker is not None:
                    with suppress(Exception):
                        worker.close()
            self._stopping.wait(min(_LONGEST_PAUSE, _SHORTEST_PAUSE * 2 ** min(fails, 6)))
        with suppress(LastgoodError):
            self._store.write(lambda tx: sources.let_go(tx, sources.get(tx, row), self._owner))

    def _take(self, source: sources.Source) -> bool:
        return self._store.write(lambda tx: sources.take(tx, source, self._owner))

    def _note(self, row: str, problem: str) -> None:
        with suppress(LastgoodError):
            self._store.write(lambda tx: sources.note(tx, sources.get(tx, row), problem=problem))

    def _worker(self, name: str) -> _Worker:
        setting = self.setting(name)
        if setting.kind == "kafka":
            return _Reading(self, name, setting)
        return _Checking(self, name, setting)

    def _with_roles(self, setting: GrantSource) -> GrantSource:
        if setting.kind == "dify" and not setting.roles:
            return setting.model_copy(update={"roles": DIFY_ROLES})
        return setting

    def _lister(self, name: str, setting: GrantSource) -> Lister | None:
        if setting.kind != "dify":
            return lister_of(name, setting)
        return Given(name, setting, lambda _: self._members(setting))

    def _members(self, setting: GrantSource) -> list[dict[str, Any]]:
        members = self._dify(setting.server).console.members()
        return [
            {"user_id": getattr(one, setting.user), "role": one.role} for one in members if one.status == "active"
        ]


class _Checking:
    """Compares a source on schedule; one that is learnt by lists more often, and in full where it has no digests."""

    def __init__(self, syncing: Syncing, name: str, setting: GrantSource) -> None:
        self._syncing, self._name, self._setting = syncing, name, setting

    def step(self) -> None:
        """Compare if it is time, and wait a little."""
        self.look()
        self._syncing._stopping.wait(_STEP_SECONDS)

    def look(self) -> None:
        """Compare if it is time."""
        if not self._setting.has_list:
            return
        store = self._syncing._store
        with store.read() as tx:
            source = sources.get(tx, self._name)
        kind = due(self._setting, source, datetime.now(UTC))
        if kind is None:
            return
        try:
            self._syncing.check(self._name, principal_of(self._name), kind, repair=self._setting.by_lists)
        except ListDoubted as error:  # kept and told by the check itself; asked again when it is time again
            print(f"lastgood: {error}", file=sys.stderr)

    def close(self) -> None:
        """Nothing is held."""


class _Reading(_Checking):
    """Reads a Kafka topic, and compares on schedule."""

    def __init__(self, syncing: Syncing, name: str, setting: GrantSource) -> None:
        super().__init__(syncing, name, setting)
        self._reader = Reader(syncing._store, name, setting, principal_of(name))
        self._told: tuple[int, int] | None = None
        self._told_at = 0.0
        self._looks_at = 0.0

    def step(self) -> None:
        """Take in what comes within a second."""
        self._reader.step(_STEP_SECONDS)
        self._tell()
        if monotonic() < self._looks_at:
            return
        try:
            self.look()
        except LastgoodError as error:  # the topic is read on, whatever the list's server does
            print(f"lastgood: {self._name}: {error}", file=sys.stderr)
            self._syncing._note(self._name, str(error))
            self._looks_at = monotonic() + _LONGEST_PAUSE
        else:
            if self._looks_at:
                self._syncing._note(self._name, "")
            self._looks_at = 0.0

    def close(self) -> None:
        """Let go of Kafka."""
        self._reader.close()

    def _tell(self) -> None:
        """Keep the lag where every process sees it: when it changes, and not all the time."""
        now = (self._reader.lag, self._reader.lost)
        if now == self._told or (self._told is not None and monotonic() - self._told_at < _LEASE_SECONDS):
            return

        def work(tx: Tx) -> None:
            source = sources.hold(tx, self._name)
            lost = int(source.result.get("lost", 0)) + now[1] - (self._told[1] if self._told else 0)
            sources.note(tx, source, result={**source.result, "lag": now[0], "lost": lost})

        self._syncing._store.write(work)
        self._told, self._told_at = now, monotonic()


class _Writing:
    """Writes a topic of ours."""

    def __init__(self, syncing: Syncing, name: str, row: str, feed: Any) -> None:
        self._syncing = syncing
        self._writer = Writer(syncing._store, name, row, feed)

    def step(self) -> None:
        """Write what has changed, and wait where nothing has."""
        if not self._writer.step():
            self._syncing._stopping.wait(_STEP_SECONDS / 2)

    def close(self) -> None:
        """Let go of Kafka."""
        self._writer.close()


def due(setting: GrantSource, source: sources.Source, now: datetime) -> Kind | None:
    """Which comparison is to be made now, if any."""
    full, incremental = timedelta(hours=setting.full_hours), timedelta(minutes=setting.incremental_minutes)
    if setting.by_lists:
        incremental = timedelta(minutes=setting.poll_minutes)
    if (full and _past(source.full_at, full, now)) or (source.full_at is None and incremental):
        return "full"
    return "incremental" if incremental and _past(source.incremental_at, incremental, now) else None


def _past(at: str | None, pause: timedelta, now: datetime) -> bool:
    return at is None or now - parse_time(at) >= pause
