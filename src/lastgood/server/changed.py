"""Which rows of the log of changes a caller is shown."""

from collections.abc import Mapping

from lastgood.access import decisions
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.server.asking import FIXED, KINDS, Thing, slugs_of


class Shown:
    """Says of the resources of rows (paths such as ``workflow/wf-abc123/channel/live``) whether `who` is shown them:
    of workflows those that it may read, of servers and targets too; of the rest what the rights to read it say."""

    def __init__(self, store: Store, who: Principal, slugs: Mapping[str, str]) -> None:
        self._slugs = slugs
        self._workflows = decisions.visible(store, who, "workflow:read")
        self._targets = decisions.visible(store, who, "target:read")
        self._rest = decisions.visible(store, who, "access:read")(FIXED["access"])

    def __call__(self, tx: Tx, resource: str) -> bool:
        """Whether the row of this resource is shown."""
        kind, _, what = resource.partition("/")
        name = what.partition("/")[0]
        if kind == "workflow":
            return self._workflows(f"workflow:{self._slugs.get(name, name)}")
        if kind in ("target", "server"):
            return self._targets(f"target:{name}")
        if kind in KINDS:
            found = slugs_of(tx, Thing(kind, name))
            return bool(found) and all(self._workflows(f"workflow:{slug}") for slug in found)
        return self._rest
