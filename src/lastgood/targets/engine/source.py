"""Where the engine gets what it runs: the seam that the store (or a folder of files) stands behind."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lastgood.dsl.reader import parse


@dataclass(frozen=True, slots=True)
class Runnable:
    """One version, ready to be prepared: `document` is Dify's envelope with the values of secrets filled in."""

    workflow_id: str
    version_id: str
    name: str
    mode: str
    document: dict[str, Any]


class Source(Protocol):
    """What the engine asks of the store. Called from several threads at once."""

    def workflow_for_key(self, key: str) -> str | None:
        """The workflow that the app key (``app-…``) belongs to, None for a key that nobody has."""
        ...

    def live_version(self, workflow_id: str) -> str | None:
        """The id of the version in service, None where nothing is published."""
        ...

    def load(self, version_id: str) -> Runnable | None:
        """The version of that id, None where there is none. The same id always gives the same document."""
        ...


class FolderSource:
    """A folder of documents: each ``NAME.yml`` is a workflow ``NAME`` with the one version ``v-20000101-NN`` (its
    place in the sorted folder) and the key ``app-NAME``. For tests and for trying documents out."""

    def __init__(self, folder: Path) -> None:
        self._files = {f"v-20000101-{n:02d}": path for n, path in enumerate(sorted(folder.glob("*.y*ml")), 1)}
        self._versions = {path.stem: version for version, path in self._files.items()}

    def workflow_for_key(self, key: str) -> str | None:
        name = key.removeprefix("app-")
        return name if name in self._versions else None

    def live_version(self, workflow_id: str) -> str | None:
        return self._versions.get(workflow_id)

    def load(self, version_id: str) -> Runnable | None:
        path = self._files.get(version_id)
        if path is None:
            return None
        document = parse(path.read_bytes(), source=path.name)
        return Runnable(path.stem, version_id, document.name or path.stem, document.mode, document.data)
