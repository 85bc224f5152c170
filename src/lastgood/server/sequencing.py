"""The thread that gives audit rows their places, signs the log's head now and then, and sends it where it is kept."""

import sys
import threading
from dataclasses import dataclass
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
    problem: str = ""
    _signed: float = float("-inf")

    def run(self) -> None:
        """Do it until this process must end, and a last time then (a server's own thread runs this)."""
        while not self.stopping.wait(_LOOK_SECONDS):
            self.look()
        self.look()

    def look(self) -> None:
        """Give places, and sign and send when it is time."""
        try:
            tree.sequence_all(self.store)
            if monotonic() - self._signed >= self.store.settings.audit.checkpoint_seconds:
                self._signed = monotonic()
                tree.sign_now(self.store)
            if not self.stopping.is_set():
                for state in sending.send_all(self.store):
                    if state.failures == 1:
                        print(f"lastgood: {state.problem}", file=sys.stderr)
            self.problem = ""
        except LastgoodError as error:
            if str(error) != self.problem:  # once, not every second
                self.problem = str(error)
                print(f"lastgood: audit log: {error}", file=sys.stderr)
                if isinstance(error, LogInconsistent):
                    self._alert(error)

    def _alert(self, error: LogInconsistent) -> None:
        try:
            self.store.write(lambda tx: audit.emit(tx, "audit.inconsistent", "audit/log", {"detail": str(error)}))
        except LastgoodError as lost:
            print(f"lastgood: audit log: {lost}", file=sys.stderr)
