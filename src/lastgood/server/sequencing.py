"""The thread that gives audit rows their places, signs the log's head now and then, and sends it where it is kept."""

import sys
import threading
from dataclasses import dataclass, field
from time import monotonic

from lastgood.access.log import sending, tree
from lastgood.db import audit
from lastgood.db.store import Store
from lastgood.errors import LastgoodError, LogInconsistent

_LOOK_SECONDS = 1.0


@dataclass(slots=True)
class Sequencing:
    """Every server does this; whoever is first has done it for all."""

    store: Store
    stopping: threading.Event
    _signed: float = float("-inf")
    _told: set[str] = field(default_factory=set)

    def run(self) -> None:
        """Do it until this process must end, and a last time then (a server's own thread runs this)."""
        while not self.stopping.wait(_LOOK_SECONDS):
            self.look()
        self.look()

    def look(self) -> None:
        """Give places, and sign and send when it is time. What fails is told once, until a head is signed again."""
        try:
            tree.sequence_all(self.store)
            if monotonic() - self._signed >= self.store.settings.audit.checkpoint_seconds:
                self._signed = monotonic()
                tree.sign_now(self.store)
                self._told.clear()
            if not self.stopping.is_set():
                for state in sending.send_all(self.store):
                    if state.failures == 1:
                        print(f"lastgood: {state.problem}", file=sys.stderr)
        except Exception as error:  # nobody would see that this thread had died
            known = isinstance(error, LastgoodError)
            problem = str(error) if known else f"this should not happen ({type(error).__name__})"
            if problem not in self._told:
                self._told.add(problem)
                print(f"lastgood: audit log: {problem}", file=sys.stderr)
                if isinstance(error, LogInconsistent):
                    self._alert(error)

    def _alert(self, error: LogInconsistent) -> None:
        try:
            self.store.write(lambda tx: audit.emit(tx, "audit.inconsistent", "audit/log", {"detail": str(error)}))
        except LastgoodError as lost:
            print(f"lastgood: audit log: {lost}", file=sys.stderr)
