"""The threads in which this server runs operations, and its eye for those that another process left."""

import sys
import threading
from dataclasses import dataclass, field
from time import monotonic

from lastgood.access import decisions
from lastgood.access.actions import MOVE, OF_KIND
from lastgood.db.audit import Principal
from lastgood.errors import LastgoodError, OperationOver, OperationTaken
from lastgood.history import workflows
from lastgood.history.apps import App
from lastgood.release import converging, journal, operation, rehearsal
from lastgood.release.means import Means
from lastgood.release.placing import standing
from lastgood.release.plan import Kind

_LOOK_SECONDS = 2.0
_ELSEWHERE_SECONDS = 0.2
_PARK_SECONDS = 20.0
_DUE_SECONDS = 60.0
_GIVE_SECONDS = 30.0
_LONGEST_PAUSE = 3600.0
JOBS = Principal("jobs", "service")


@dataclass(slots=True)
class Operators:
    """Runs operations with `means`. `stop` parks what still runs."""

    means: Means
    _running: dict[str, threading.Thread] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _next: float = 0.0
    _tried: dict[int, tuple[int, float]] = field(default_factory=dict)

    def start(self, id: str) -> None:
        """Run an operation in a thread of its own; where one runs here already, that goes on."""
        with self._lock:
            running = self._running.get(id)
            if (running is not None and running.is_alive()) or self.means.stopping.is_set():
                return
            thread = threading.Thread(target=self._run, args=(id,), name=f"operation {id}", daemon=True)
            self._running[id] = thread
            thread.start()

    def wait(self, id: str, seconds: float) -> None:
        """Wait until an operation is over or asks a person, at most so long, whichever process runs it. Raises
        `UnknownOperation`."""
        end = monotonic() + seconds
        while (left := end - monotonic()) > 0 and not self.means.stopping.is_set():
            thread = self._running.get(id)
            if thread is not None:
                thread.join(left)
            with self.means.store.read() as tx:
                found = journal.find(tx, id)
            if found.over or found.state == "asking":
                return
            self.means.stopping.wait(min(left, _ELSEWHERE_SECONDS))

    def take_over(self) -> None:
        """Go on, until the end, with operations that nobody works on (a server's own thread runs this)."""
        while True:
            try:
                with self.means.store.read() as tx:
                    waiting = journal.waiting(tx)
                for id in waiting:
                    self.start(id)
                self._give_apps()
                self._rehearse()
            except LastgoodError as error:
                print(f"lastgood: {error}", file=sys.stderr)
            if self.means.stopping.wait(_LOOK_SECONDS):
                return

    def stop(self) -> None:
        """Let each operation finish its step, and park it."""
        self.means.stopping.set()
        for thread in list(self._running.values()):
            thread.join(_PARK_SECONDS)

    def _give_apps(self) -> None:
        """Give Dify apps what their channels say: after a move by `route`, where a row was deleted that the gateway
        names, and (by setting) where they drifted. One that cannot be given is tried less and less often."""
        with self.means.store.read() as tx:
            waiting: list[tuple[Kind, App]] = [("converge", app) for app in standing.to_converge(tx)]
            if self.means.settings.dify.heal:
                waiting += [("heal", app) for app in standing.drifted(tx)]
        for kind, app in waiting:
            tries, due = self._tried.get(app.pk, (0, 0.0))
            if self.means.stopping.is_set() or monotonic() < due:
                continue
            self._tried[app.pk] = (tries + 1, monotonic() + min(_LONGEST_PAUSE, _GIVE_SECONDS * 2**tries))
            try:
                for action in (OF_KIND[kind], MOVE + app.channel):
                    decisions.require(self.means.store, JOBS, action, f"workflow:{app.slug}")
                entered = converging.enter(self.means, JOBS, app, kind)
                if entered is not None:
                    self.start(entered.id)
            except LastgoodError as error:
                print(f"lastgood: {app.name} on {app.target} cannot be given its version: {error}", file=sys.stderr)
        for pk in self._tried.keys() - {app.pk for _, app in waiting}:
            del self._tried[pk]

    def _rehearse(self) -> None:
        """Rehearse what is due by the setting, one workflow after the other."""
        hours = self.means.settings.rollback.rehearse_hours
        if hours == 0 or monotonic() < self._next:
            return
        self._next = monotonic() + _DUE_SECONDS
        with self.means.store.read() as tx:
            due = [workflows.find(tx, id) for id in rehearsal.due(tx, hours)]
        may = decisions.visible(self.means.store, JOBS, "workflow:rehearse")
        for workflow in due:
            if not self.means.stopping.is_set() and may(f"workflow:{workflow.slug}"):
                rehearsal.rehearse(self.means, JOBS, workflow.id)

    def _run(self, id: str) -> None:
        try:
            operation.run(self.means, id)
        except (OperationTaken, OperationOver):
            pass  # another was quicker, and its outcome is in the journal
        except LastgoodError as error:
            # Its lease ends by itself, and whoever looks next goes on with it.
            print(f"lastgood: {id}: {error}", file=sys.stderr)
        finally:
            with self._lock:
                self._running.pop(id, None)
