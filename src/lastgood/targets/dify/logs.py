"""Dify's own logs of runs, web app and webhooks included, read so that no run is counted twice.

Logs are listed newest first, by the second in which they were written. What is kept is the second up to which all is
counted, and the ids of what was counted lately: a row may be written late, and several stand in one second. A run
that still goes on holds that second back for a while."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from lastgood.db.tx import Tx, parse_time, utc_text
from lastgood.errors import DifyBusy, DifyError, DifyMissing, DifySignInRefused, DifyUnreachable
from lastgood.history import apps, placements, served, versions
from lastgood.history.served import Runs
from lastgood.targets.dify.asking import MOST_PER_PAGE
from lastgood.targets.dify.client import Client
from lastgood.targets.dify.runs import Run
from lastgood.targets.dify.source import Source

_MOST_PAGES = 20  # in one reading: of a busy app's long past, the newest two thousand runs are enough
_LATE = timedelta(seconds=30)
_LONGEST_WAIT = timedelta(minutes=10)
_GOOD, _BAD = frozenset({"succeeded", "partial-succeeded"}), frozenset({"failed"})
_OVER = _GOOD | _BAD | {"stopped"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One run in a log: its id, the version string that ran, what started it, how it ended, and when it was
    written."""

    id: str
    label: str
    origin: str
    status: str
    seconds: float
    at: datetime


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a log was read: all before `until` is counted, and of what came from then on, the runs `ids`."""

    until: datetime | None
    ids: frozenset[str]

    @classmethod
    def of(cls, read: Mapping[str, Any]) -> "Mark":
        """From what is kept of an app."""
        kept = read.get("logs") or {}
        until = kept.get("until")
        return cls(parse_time(until) if until else None, frozenset(kept.get("ids", [])))

    def as_data(self) -> dict[str, Any]:
        """As it is kept."""
        return {"until": utc_text(self.until) if self.until else None, "ids": sorted(self.ids)}

    def is_new(self, entry: Entry) -> bool:
        """Whether `entry` is not counted yet."""
        return (self.until is None or entry.at >= self.until) and entry.id not in self.ids

    def after(self, entries: Collection[Entry], known: Collection[str]) -> "Mark":
        """The mark after all of `entries` were counted that are over and ran one of the versions `known` (version
        strings). The others hold it back for a while: they may yet end, or their version be captured."""
        if not entries:
            return self
        newest = max(entry.at for entry in entries)
        waiting = {entry.id for entry in entries if entry.status not in _OVER or entry.label not in known}
        held = [entry.at for entry in entries if entry.id in waiting and newest - entry.at < _LONGEST_WAIT]
        until = min([newest - _LATE, *held])
        until = max(until, self.until) if self.until else until
        ids = (entry.id for entry in entries if entry.at >= until and entry.id not in waiting)
        return Mark(until, frozenset(ids))


def read(source: Source, app_id: str) -> list[str]:
    """Count what an app's log tells since it was read last, and give the ids of the versions that this proved.

    What a server does not tell changes nothing. Raises `DifyUnreachable`, `DifyBusy`, `DifySignInRefused`, and
    `DifyMissing` where the app is gone."""
    with source.store.read() as tx:
        held = source.app(tx, app_id)
    if held is None or held.live_id is None:
        return []
    before = Mark.of(held.read)
    try:
        entries = list(_entries(source.client, app_id, held.mode, before))
    except (DifyUnreachable, DifyBusy, DifySignInRefused):
        raise
    except DifyMissing as error:
        # A chatflow that a route does not take is answered so too.
        if error.data.get("code") == "app_not_found" and held.mode == "workflow":
            raise
        return []
    except DifyError:
        return []
    if not entries:
        return []

    def work(tx: Tx) -> list[str]:
        app = apps.by_pk(tx, held.pk)
        mark = Mark.of(app.read)
        placed = {one.label: one.version_pk for one in placements.listing(tx, app)}
        counted: dict[tuple[int, str], Runs] = {}
        for entry in entries:
            version = placed.get(entry.label)
            if version is not None and entry.status in _GOOD | _BAD and mark.is_new(entry):
                key = version, entry.origin
                one = Runs(1, int(entry.status in _BAD), entry.seconds, entry.seconds, *[utc_text(entry.at)] * 2)
                counted[key] = counted[key].plus(one) if key in counted else one
        for (version, origin), runs in counted.items():
            served.add(tx, app, version, origin, runs)
        apps.set_read(tx, app, logs=mark.after(entries, placed).as_data())
        settings = source.store.settings
        proven = []
        for version in {version for version, _ in counted}:
            found = served.prove(
                tx, source.who, versions.by_pk(tx, version),
                least=settings.evidence_runs, failures=settings.evidence_failures,
            )  # fmt: skip
            proven += [found.id] if found else []
        return proven

    return source.store.write(work)


def _entries(client: Client, app_id: str, mode: str, mark: Mark) -> Iterator[Entry]:
    """The entries of a log that may be new, each once, newest first."""
    seen: set[str] = set()
    for entry in _log(client, app_id) if mode == "workflow" else _runs(client, app_id):
        if mark.until is not None and entry.at < mark.until:
            return
        if entry.id not in seen:
            seen.add(entry.id)
            yield entry


def _log(client: Client, app_id: str) -> Iterator[Entry]:
    """A workflow app's log: it knows what started a run."""
    for number in range(1, _MOST_PAGES + 1):
        page = client.runs.logs(app_id, number, MOST_PER_PAGE)
        for one in page.items:
            at = one.created_at or one.run.created_at
            if at is not None:
                started = one.run.triggered_from
                origin = started if started not in ("", "app-run") else one.created_from or "app-run"
                yield _entry(one.run, origin, at)
        if not page.has_more or not page.items:
            return


def _runs(client: Client, app_id: str) -> Iterator[Entry]:
    """A chatflow's runs, whatever asked for them: it has no such log, and its list does not tell the web app from the
    API. Both of the routes that list them tell the same; a server has at least one."""
    last: str | None = None
    chat = True
    for _ in range(_MOST_PAGES):
        try:
            page = client.runs.runs(app_id, after=last, limit=MOST_PER_PAGE, chat=chat)
        except (DifyUnreachable, DifyBusy, DifySignInRefused):
            raise
        except DifyError:
            if not chat or last is not None:
                raise
            chat = False
            page = client.runs.runs(app_id, after=last, limit=MOST_PER_PAGE)
        for run in page.items:
            if run.created_at is not None:
                yield _entry(run, run.triggered_from or "app-run", run.created_at)
        if not page.has_more or not page.items:
            return
        last = page.items[-1].id


def _entry(run: Run, origin: str, at: datetime) -> Entry:
    return Entry(run.id, run.version, origin, run.status, max(0.0, run.elapsed_seconds or 0.0), at)
