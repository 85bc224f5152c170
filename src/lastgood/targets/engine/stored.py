"""The store as the engine's source of versions."""

from lastgood.db.store import Store
from lastgood.errors import InvalidId, UnknownChannel, UnknownVersion, UnknownWorkflow
from lastgood.history import channels, keys, versions, workflows
from lastgood.targets.engine.source import Runnable


class StoreSource:
    """Versions out of the main store, secrets opened (`source.Source`)."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def workflow_for_key(self, key: str) -> str | None:
        with self._store.read() as tx:
            return keys.workflow_of(tx, key)

    def live_version(self, workflow_id: str) -> str | None:
        with self._store.read() as tx:
            try:
                return channels.get(tx, workflows.find(tx, workflow_id)).version
            except (UnknownWorkflow, UnknownChannel):
                return None

    def load(self, version_id: str) -> Runnable | None:
        with self._store.read() as tx:
            try:
                version = versions.find(tx, version_id)
                workflow = workflows.by_pk(tx, version.workflow_pk)
            except (UnknownVersion, InvalidId):
                return None
            document = versions.runnable_document(tx, version)
        return Runnable(workflow.id, version.id, workflow.name, document.mode, document.data)
