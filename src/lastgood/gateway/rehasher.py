"""App keys that come and are known by an older lookup key of the ring are kept under the newest one, aside from the
requests: so an older key can leave the ring some day."""

import logging
import threading
from typing import Final

from lastgood.db.store import Store
from lastgood.errors import LastgoodError
from lastgood.gateway.router import Router
from lastgood.history import keys

log = logging.getLogger(__name__)
_SECONDS: Final = 20.0


class Rehasher:
    """Looks now and then what `router` saw; there is nothing to do while the ring has one lookup key."""

    def __init__(self, store: Store, router: Router) -> None:
        self._store = store
        self._router = router

    def start(self) -> None:
        """Look every so often, in a thread of its own, until the process ends."""
        threading.Thread(target=self._run, name="rehash", daemon=True).start()

    def look(self) -> int:
        """Keep what was seen; gives how many keys. What cannot be written now is seen again."""
        seen = self._router.take_seen()
        if not seen:
            return 0
        return self._store.write(lambda tx: keys.rehash(tx, seen))

    def _run(self) -> None:
        never = threading.Event()
        while not never.wait(_SECONDS):
            try:
                self.look()
            except LastgoodError as error:
                log.warning("app keys keep their older hashes for now: %s", error)
