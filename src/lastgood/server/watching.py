"""The threads in which this server captures Dify servers and watches them."""

import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import Any, Final, Literal

from lastgood.access import decisions
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.db.tx import utc_now
from lastgood.errors import InvalidRequest, LastgoodError, StillCapturing
from lastgood.history import apps
from lastgood.targets.dify import Client, servers
from lastgood.targets.dify.capture import Captured, capture, is_changed, listed
from lastgood.targets.dify.forms import App
from lastgood.targets.dify.source import Source, may_export
from lastgood.targets.dify.watch import Look, Memory, look, share

WATCH: Final = Principal("watch", "service")
_LONGEST_PAUSE = 600.0
_TURN_SECONDS = 1.0
_STOP_SECONDS = 20.0
_MOST_TOLD = 50


@dataclass(slots=True)
class Progress:
    """How far a capture is. `done` of `apps` were read; `versions` are new, `again` rows that hold a version kept
    already; `problems` and `secrets_missing` are sentences and names, the first of them."""

    server: str
    state: Literal["running", "done", "failed", "stopped"] = "running"
    apps: int = 0
    done: int = 0
    unchanged: int = 0
    versions: int = 0
    again: int = 0
    drafts: int = 0
    failed: int = 0
    secrets_missing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    began_at: str = field(default_factory=utc_now)
    ended_at: str | None = None

    def tell(self, one: Captured) -> None:
        """Count one app."""
        self.done += 1
        self.versions += one.versions
        self.again += one.again
        self.drafts += one.draft
        self.failed += one.failed
        if one.secrets_missing:
            self.secrets_missing.append(f"{one.workflow}: {', '.join(one.secrets_missing)}")
        self.problems += [f"{one.name}: {problem}" for problem in one.problems]

    def public(self) -> dict[str, Any]:
        """Its JSON form."""
        more = len(self.problems) - _MOST_TOLD
        told = [*self.problems[:_MOST_TOLD], *([f"and {more} more"] if more > 0 else [])]
        return {**asdict(self), "problems": told, "secrets_missing": self.secrets_missing[:_MOST_TOLD]}


@dataclass(slots=True)
class Watched:
    """How the watch of a server stands: when it looked last and what it found, or since when it fails and why."""

    server: str
    looked_at: str | None = None
    found: str = ""
    failing_since: str | None = None
    problem: str = ""
    fails: int = 0

    def public(self) -> dict[str, Any]:
        """Its JSON form."""
        return asdict(self)


class Watching:
    """Captures and watches the servers of `store`; one at a time for each server in this process."""

    def __init__(self, store: Store, client: Callable[[str], Client]) -> None:
        self._store = store
        self._client = client
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}
        self._memory: dict[str, Memory] = {}
        self._captures: dict[str, tuple[Progress, threading.Thread]] = {}
        self._watched: dict[str, Watched] = {}
        self._loops: dict[str, threading.Thread] = {}

    def source(self, name: str, who: Principal) -> Source:
        """The server `name` to read from. Raises `UnknownServer`, `InvalidRequest` for a way in that sees no
        versions, `Denied`."""
        decisions.require(self._store, who, "target:capture", f"target:{name}")
        with self._store.read() as tx:
            server = servers.get(tx, name)
        if server.facts.get("way") == "bearer":
            reason = (
                f"{name} is connected by a token of /openapi/v1, which shows no versions; connect it by an account"
            )
            raise InvalidRequest(where="server", reason=reason)
        return Source(self._store, self._client(name), server, who, may_export(server), self._stopping)

    def capture(self, name: str, who: Principal, *, app: str | None = None, everything: bool = False) -> Progress:
        """Begin to capture a server, or one of its apps (by Dify's id or name), in a thread of its own. Raises
        `StillCapturing`, and what `source` does."""
        source = self.source(name, who)
        with self._lock:
            running = self._captures.get(name)
            if running is not None and running[1].is_alive():
                raise StillCapturing(server=name)
            progress = Progress(name)
            thread = threading.Thread(
                target=self._capture, args=(source, progress, app, everything), name=f"capture of {name}", daemon=True
            )
            self._captures[name] = progress, thread
            thread.start()
        return progress

    def progress(self, name: str) -> Progress | None:
        """How far the newest capture of a server is, or came; None where this process made none."""
        held = self._captures.get(name)
        return held[0] if held else None

    def look(self, name: str, who: Principal) -> Look:
        """Look at a server once, at all of it. Raises `DifyError`, and what `source` does."""
        with self._turn(name):
            source = self.source(name, who)
            return look(source, self._memory.setdefault(name, Memory()), newcomers=source.server.captured)

    def watched(self) -> list[dict[str, Any]]:
        """How the watch of each server stands, by name."""
        return [self._watched[name].public() for name in sorted(self._watched)]

    def run(self) -> None:
        """Watch every server until the end, each in a thread of its own (a server's own thread runs this)."""
        if self._store.settings.watch_seconds == 0:
            return
        while True:
            try:
                with self._store.read() as tx:
                    names = [one.name for one in servers.listing(tx) if one.facts.get("way") != "bearer"]
                for name in names:
                    if name not in self._loops:
                        loop = threading.Thread(
                            target=self._watch, args=(name,), name=f"watch of {name}", daemon=True
                        )
                        self._loops[name] = loop
                        loop.start()
            except LastgoodError as error:
                print(f"lastgood: {error}", file=sys.stderr)
            if self._stopping.wait(self._store.settings.watch_seconds):
                return

    def stop(self) -> None:
        """Let each thread finish the app it is at."""
        self._stopping.set()
        end = monotonic() + _STOP_SECONDS
        for thread in [*(thread for _, thread in self._captures.values()), *self._loops.values()]:
            thread.join(max(0.0, end - monotonic()))

    def _capture(self, source: Source, progress: Progress, app: str | None, everything: bool) -> None:
        try:
            with self._turn(source.server.name):
                found = list(listed(source))
                chosen = _chosen(source, found, app, everything)
                progress.apps, progress.unchanged = len(chosen), len(found) - len(chosen) if app is None else 0
                # The oldest app first, so that the one that others are made after is there before them.
                capture(source, reversed(chosen), progress.tell, everything=everything)
                if app is None and not self._stopping.is_set():
                    self._store.write(lambda tx: servers.set_captured(tx, source.server))
            ended = "stopped" if self._stopping.is_set() and progress.done < progress.apps else "done"
            progress.state = "failed" if progress.failed else ended  # type: ignore[assignment]
        except LastgoodError as error:
            progress.problems.append(str(error))
            progress.state = "failed"
        except Exception as error:
            # Its text may hold anything; a thread that dies without a word would be waited for for ever.
            progress.problems.append(f"this should not happen ({type(error).__name__})")
            progress.state = "failed"
            raise
        finally:
            progress.ended_at = utc_now()

    def _watch(self, name: str) -> None:
        state = self._watched.setdefault(name, Watched(name))
        seconds = self._store.settings.watch_seconds
        while not self._stopping.is_set():
            try:
                with self._turn(name):
                    source = self.source(name, WATCH)
                    memory = self._memory.setdefault(name, Memory())
                    limits = source.client.wire.limits
                    known = source.server.captured
                    found = look(source, memory, requests=share(limits.per_second, seconds), newcomers=known)
                later = "" if known else f"; new apps are left alone until `lastgood capture {name}`"
                state.looked_at, state.found = utc_now(), found.sentence() + later
                if state.fails:
                    print(f"lastgood: the watch of {name} goes on", file=sys.stderr)
                state.fails, state.failing_since, state.problem = 0, None, ""
            except Exception as error:
                told = str(error) if isinstance(error, LastgoodError) else type(error).__name__
                if not state.fails and not self._stopping.is_set():
                    print(f"lastgood: the watch of {name} fails, and is tried again: {told}", file=sys.stderr)
                    state.failing_since = utc_now()
                state.fails, state.problem = state.fails + 1, told
            self._stopping.wait(min(_LONGEST_PAUSE, seconds * 2 ** min(state.fails, 10)))

    def _turn(self, name: str) -> threading.Lock:
        with self._lock:
            return self._turns.setdefault(name, threading.Lock())


def _chosen(source: Source, found: list[App], app: str | None, everything: bool) -> list[App]:
    """The apps to capture: the one that was named, all, or those that changed. Raises `InvalidRequest`."""
    if app is not None:
        named = [one for one in found if app in (one.id, one.name)]
        if len(named) != 1:
            reason = f"{len(named)} apps of {source.server.name} that have versions are called {app!r}"
            raise InvalidRequest(where="app", reason=reason + ("; give its id" if named else ""))
        return named
    with source.store.read() as tx:
        held = {one.app_id: one for one in apps.of_target(tx, source.server.name)}
        moving = source.applying(tx)
    kept = [one for one in found if one.id not in moving]
    return [one for one in kept if everything or one.id not in held or is_changed(one, held[one.id])]
