"""Watch: what happens on a Dify server while nobody asks, look after look.

The list of apps is read each time: it tells of every publish. What it does not tell (drafts, deleted versions, what
is around an app, its logs) is looked at app by app, the longest unseen first, within a number of requests per
look."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, Literal

from lastgood.db import audit
from lastgood.db.tx import Tx
from lastgood.errors import DifyBusy, DifyError, DifyMissing, DifySignInRefused, DifyUnreachable
from lastgood.history import apps, placements
from lastgood.history.apps import App
from lastgood.targets.dify import around, forms, listing, logs
from lastgood.targets.dify.capture import Captured, capture, capture_app, is_changed, keep_draft, known_rows, listed
from lastgood.targets.dify.source import Patience, Source

Job = Literal["draft", "rows", "logs", "around"]
# How often each is wanted for an app (seconds; 0: at each look, but not twice in a second), and about how many
# requests it takes.
_EVERY: Final[Mapping[Job, float]] = {"draft": 0.0, "rows": 300.0, "logs": 60.0, "around": 600.0}
_COST: Final[Mapping[Job, int]] = {"draft": 1, "rows": 1, "logs": 1, "around": 6}
_PINNED_EVERY = 60.0  # of a version that the gateway names by its id, whether it is still there
_SHARE = 0.5  # of the requests that a server is asked at most, for all of this


@dataclass(slots=True)
class Memory:
    """When what was last looked at, by app and job. It lives as long as the process: after a start all is due."""

    last: dict[tuple[str, Job], float] = field(default_factory=dict)
    now: Callable[[], float] = monotonic

    def captured(self, one: Captured) -> None:
        """An app was read just now; its secrets are looked at once more, but not within the same second."""
        if not one.failed:
            jobs: tuple[Job, ...] = ("draft", "logs", "around", "rows") if one.first else ("draft",)
            self.last |= {(one.app, job): self.now() for job in jobs}

    def due(self, held: App, least: float) -> list[tuple[float, str, Job]]:
        """What is due of an app, each with how overdue it is."""
        found = []
        for job, usual in _EVERY.items():
            every = _PINNED_EVERY if job == "rows" and held.way == "route" else usual
            waited = self.now() - self.last.get((held.app_id, job), float("-inf"))
            if waited >= max(every, 1.0):
                found.append((waited / max(every, least, 1.0), held.app_id, job))
        return found


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found: apps in all and captured anew, drafts kept, rows of versions that are gone, apps that are
    gone, changes around apps, versions proven by logs, and what went wrong with single apps."""

    apps: int = 0
    captured: tuple[Captured, ...] = ()
    drafts: int = 0
    rows_gone: tuple[str, ...] = ()
    apps_gone: tuple[str, ...] = ()
    changes: int = 0
    proven: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def sentence(self) -> str:
        """``3 apps: 1 version new, 2 drafts kept, nothing else``"""
        new = sum(one.versions + one.again for one in self.captured)
        told = [
            (new, "published"),
            (self.drafts + sum(one.draft for one in self.captured), "drafts kept"),
            (len(self.rows_gone), "versions deleted in Dify"),
            (len(self.apps_gone), "apps gone"),
            (self.changes, "changes around apps"),
            (len(self.proven), "proven by logs"),
            (len(self.problems), "problems"),
        ]
        return f"{self.apps} apps: " + (", ".join(f"{n} {what}" for n, what in told if n) or "nothing new")


def look(source: Source, memory: Memory, *, requests: int | None = None, newcomers: bool = True) -> Look:
    """Look at a server once, with about `requests` requests beside those that the list and new versions take (None:
    as many as it takes). Without `newcomers`, apps that run no channel yet are left alone. Raises `DifyUnreachable`,
    `DifyBusy`, `DifySignInRefused`: the whole server cannot be read."""
    told: list[Captured] = []
    found = {app.id: app for app in listed(source)}
    with source.store.read() as tx:
        held = {app.app_id: app for app in apps.of_target(tx, source.server.name)}
        moving = source.applying(tx)
    still = [app for app in found.values() if app.id not in moving]
    changed = [app for app in still if (is_changed(app, held[app.id]) if app.id in held else newcomers)]
    capture(source, reversed(changed), told.append)
    for one in told:
        memory.captured(one)
    gone = _gone_apps(source, [app for app in held.values() if app.app_id not in found and app.gone_at is None])
    seen = [app.pk for app in held.values() if app.app_id in found]
    source.store.write(lambda tx: apps.set_seen(tx, seen))
    swept = _sweep(source, memory, found, requests)
    return Look(
        apps=len(found),
        captured=tuple(told),
        apps_gone=gone,
        drafts=swept.drafts,
        rows_gone=swept.rows_gone,
        changes=swept.changes,
        proven=swept.proven,
        problems=(*(f"{one.name}: {why}" for one in told for why in one.problems), *swept.problems),
    )


def share(per_second: float, seconds: float) -> int:
    """How many requests one look may take for what the list does not tell, where one comes every `seconds`."""
    return max(10, int(per_second * seconds * _SHARE))


def _sweep(source: Source, memory: Memory, found: Mapping[str, forms.App], requests: int | None) -> Look:
    with source.store.read() as tx:
        held = {app.app_id: app for app in apps.of_target(tx, source.server.name) if app.app_id in found}
    due = sorted((one for app in held.values() for one in memory.due(app, 20.0)), reverse=True)
    drafts, rows, changes, proven, problems, used = 0, [], 0, [], [], 0
    patience = Patience()
    for _, app_id, job in due:
        if source.stopping.is_set() or (requests is not None and used + _COST[job] > requests):
            break
        with source.store.read() as tx:
            if app_id in source.applying(tx):
                continue  # an operation of ours is at its draft
        used += _COST[job]
        memory.last[app_id, job] = memory.now()  # first, so that an app that cannot be read does not stay the next
        try:
            if job == "draft":
                drafts += _draft(source, found[app_id])
            elif job == "rows":
                rows += _rows(source, found[app_id])
            elif job == "logs":
                proven += logs.read(source, app_id)
            else:
                changes += len(around.observe(source, app_id))
            patience.answered()
        except (DifyBusy, DifySignInRefused):
            raise
        except DifyUnreachable as error:
            patience.missed(error)
            problems.append(f"{found[app_id].name}: {error}")
        except DifyMissing:
            pass  # the next list of apps tells whether it is gone
        except DifyError as error:
            problems.append(f"{found[app_id].name}: {error}")
    return Look(drafts=drafts, rows_gone=tuple(rows), changes=changes, proven=tuple(proven), problems=tuple(problems))


def _draft(source: Source, app: forms.App) -> bool:
    """Look at a draft, and at the newest version beside it, which costs nothing more."""
    with source.store.read() as tx:
        held = source.app(tx, app.id)
        known = known_rows(tx, held).ids if held else frozenset()
    if not known:
        row = listing.draft_of(source.client.console, app.id)
        return row is not None and keep_draft(source, app, row, Captured(app.id, app.name)).draft
    rows = source.client.console.versions(app.id, 1, 2).items
    if any(not row.is_draft and row.id not in known for row in rows):
        return capture_app(source, app).draft  # published since the list was read
    row = next((row for row in rows if row.is_draft), None) or listing.draft_of(source.client.console, app.id)
    return row is not None and keep_draft(source, app, row, Captured(app.id, app.name)).draft


def _rows(source: Source, app: forms.App) -> list[str]:
    """Notice rows that somebody deleted in Dify, and tell of each; and rows that were passed over."""
    app_id = app.id
    with source.store.read() as tx:
        held = source.app(tx, app_id)
        every = placements.listing(tx, held) if held else []
        unreadable = held.read.get("unreadable", []) if held else []
    rows = [one for one in every if one.gone_at is None]
    if held is None or not every:
        return []
    if not rows:  # all are gone; they may be back
        capture_app(source, app)
        return []
    console = source.client.console
    # With versions that cannot be kept, which one is the last is not known.
    if not unreadable and listing.is_complete(console, app_id, rows[0].placed_id, len(rows)):
        return []
    missing = listing.gone(console, app_id, {one.placed_id for one in rows})
    if not missing:
        capture_app(source, app, everything=True)
        return []

    def work(tx: Tx) -> list[str]:
        app = apps.by_pk(tx, held.pk)
        told = []
        for placement in placements.listing(tx, app):
            if placement.placed_id not in missing or placement.gone_at is not None:
                continue
            placements.set_gone(tx, source.who, app, placement)
            told.append(placement.version)
        return told

    return source.store.write(work)


def _gone_apps(source: Source, missing: list[App]) -> tuple[str, ...]:
    """Of the apps that the list does not name, those that are really gone, each told once."""
    gone = []
    for held in missing:
        try:
            source.client.console.app(held.app_id)
            continue  # it moved between two pages, or another role sees less
        except DifyMissing:
            pass
        except (DifyUnreachable, DifyBusy, DifySignInRefused):
            raise
        except DifyError:
            continue

        def work(tx: Tx, held: App = held) -> None:
            app = apps.by_pk(tx, held.pk)
            if app.gone_at is not None:
                return
            apps.set_gone(tx, app)
            resource = f"workflow/{app.workflow_id}/channel/{app.channel}"
            audit.append(tx, source.who, "app:gone", resource, server=app.target, app=app.app_id, name=app.name)
            payload = {"server": app.target, "app": app.app_id, "channel": app.channel, "name": app.name}
            audit.emit(tx, "app.gone", app.workflow_id, payload)

        source.store.write(work)
        gone.append(held.name)
    return tuple(gone)
