"""The thread that fires schedules: each slot that has come is claimed, and run on the version in service then."""

import sys
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Any

import httpx

from lastgood.access import decisions
from lastgood.db.tx import Tx
from lastgood.errors import Denied, LastgoodError
from lastgood.history import slots
from lastgood.history.slots import Ended, Fire
from lastgood.release import journal
from lastgood.release.means import Means
from lastgood.server.operators import JOBS

_LOOK_SECONDS = 0.5
_RENEW_SECONDS = slots.LEASE_MS / 4000
_TIDY_SECONDS = 3600.0
_STOP_SECONDS = 10.0
_MOST = 16  # runs at once; further slots wait, and another server may take them
_BEYOND = 15.0  # seconds that an engine gets to end a run whose time is over
_USER = "schedule"
_GOOD = ("succeeded", "partial-succeeded")


@dataclass(frozen=True, slots=True)
class _Answer:
    """How a run ended, or (`state` None) that it could not be asked for, which may pass."""

    state: Ended | None
    detail: str


@dataclass(slots=True)
class Firing:
    """Fires the schedules of the channels that the settings name."""

    means: Means
    owner: str = field(default_factory=journal.owner_name)
    _running: dict[int, threading.Thread] = field(default_factory=dict)
    _renewed: float = 0.0
    _tidied: float = field(default_factory=monotonic)

    def run(self) -> None:
        """Look for slots until this process must end (a server's own thread runs this)."""
        while not self.means.stopping.wait(_LOOK_SECONDS):
            try:
                self.look()
            except LastgoodError as error:
                print(f"lastgood: schedules: {error}", file=sys.stderr)
        self.wait(_STOP_SECONDS)

    def look(self) -> None:
        """Begin what has come, and what nobody runs any more."""
        self._running = {fire: thread for fire, thread in self._running.items() if thread.is_alive()}
        store, settings = self.means.store, self.means.settings
        self._renew()
        with store.read() as tx:
            due = slots.due(tx, settings.trigger_channels)
            left = slots.left(tx)
        grace = timedelta(seconds=settings.trigger_grace)
        for trigger in due:
            self._begin(lambda tx, one=trigger: slots.claim(tx, one, self.owner, grace))
        for fire in set(left) - self._running.keys():
            self._begin(lambda tx, one=fire: slots.take(tx, one, self.owner))
        if monotonic() - self._tidied > _TIDY_SECONDS:
            self._tidied = monotonic()
            store.write(slots.forget_old)

    def wait(self, seconds: float) -> None:
        """Wait for the runs that go on, at most so long altogether. What is left then is another's when its lease
        ends."""
        until = monotonic() + seconds
        for thread in list(self._running.values()):
            thread.join(max(0.0, until - monotonic()))

    def _begin(self, claim: Any) -> None:
        if len(self._running) >= _MOST or self.means.stopping.is_set():
            return
        fire: Fire | None = self.means.store.write(claim)
        if fire is not None:
            thread = threading.Thread(target=self._fire, args=(fire,), name=f"slot {fire.slot}", daemon=True)
            self._running[fire.pk] = thread
            thread.start()

    def _renew(self) -> None:
        if self._running and monotonic() - self._renewed > _RENEW_SECONDS:
            held = list(self._running)
            self.means.store.write(lambda tx: slots.renew(tx, held, self.owner))
            self._renewed = monotonic()

    def _fire(self, fire: Fire) -> None:
        try:
            answer = self._ask(fire)
            self.means.store.write(lambda tx: self._note(tx, fire, answer))
        except LastgoodError as error:  # the lease ends by itself, and the slot is run again
            print(f"lastgood: the slot {fire.slot} of {fire.slug}: {error}", file=sys.stderr)

    def _note(self, tx: Tx, fire: Fire, answer: _Answer) -> None:
        if answer.state is not None:
            slots.end(tx, fire.pk, self.owner, answer.state, answer.detail)
        elif fire.attempts >= slots.MOST_ATTEMPTS:
            slots.end(tx, fire.pk, self.owner, "failed", f"given up after {fire.attempts} attempts: {answer.detail}")
        else:
            slots.let_go(tx, fire.pk, self.owner, answer.detail, wait_ms=1000 * 2**fire.attempts)

    def _ask(self, fire: Fire) -> _Answer:
        """Run the version that was in service when the slot was claimed."""
        body = {"inputs": {}, "user": _USER, "response_mode": "blocking", "trigger": fire.node}
        try:
            decisions.require(self.means.store, JOBS, "trigger:fire", f"workflow:{fire.slug}")
            engine = self.means.engine()
            answer = httpx.post(
                f"{engine.base_url}/v1/workflows/{fire.version}/run",
                json=body,
                headers={"Authorization": f"Bearer {engine.token}"},
                timeout=self.means.settings.run_timeout + _BEYOND,
                trust_env=False,
            )
            found = answer.json()
        except httpx.RequestError as error:
            return _Answer(None, f"the engine was not reached ({type(error).__name__})")
        except ValueError:
            return _Answer(None, "the engine's answer is not JSON")
        except Denied as error:
            return _Answer("failed", str(error))
        except LastgoodError as error:
            return _Answer(None, str(error))
        return _read(answer.status_code, found if isinstance(found, dict) else {})


def _read(status: int, found: dict[str, Any]) -> _Answer:
    data = found.get("data")
    if status == 200 and isinstance(data, dict):
        run = f"run {found.get('workflow_run_id') or data.get('id')}"
        if data.get("status") in _GOOD:
            return _Answer("ran", f"{run} {data['status']}")
        return _Answer("failed", f"{run} {data.get('status')}: {data.get('error') or 'no reason given'}")
    if status in (400, 404):
        return _Answer("failed", str(found.get("message") or f"the engine answered {status}"))
    return _Answer(None, f"the engine answered {status}")
