"""A connected Dify server as something to read from: what all parts of capture and watch work with."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, select

from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.db.tx import Tx, utc_text
from lastgood.errors import DifyBusy, DifyDenied, DifyError, DifySignInRefused, DifyUnreachable, InvalidDocument
from lastgood.history import apps
from lastgood.history.apps import App
from lastgood.targets.dify import contents, forms
from lastgood.targets.dify.client import Client
from lastgood.targets.dify.servers import Server

_APPLYING = (
    select(t.app.c.app_id)
    .join(t.channel, t.app.c.channel_pk == t.channel.c.pk)
    .where(t.app.c.target_pk == bindparam("target"), t.channel.c.applying.is_not(None))
)


class Patience:
    """How long a server that does not answer is asked for the next app. One app may be too much for it; a few in a
    row that are not answered mean the server itself."""

    def __init__(self, most: int = 3) -> None:
        self._most = most
        self._missed = 0

    def answered(self) -> None:
        """It answered."""
        self._missed = 0

    def missed(self, error: DifyUnreachable) -> None:
        """It did not answer. Raises `error` when that is enough."""
        self._missed += 1
        if self._missed >= self._most:
            raise error


@dataclass(slots=True)
class Source:
    """A server to read from, in the name of `who`. `exports` says whether values of secrets may be asked for: it goes
    false when the server denies it once. `stopping` ends what runs after the app that it is at."""

    store: Store
    client: Client
    server: Server
    who: Principal
    exports: bool = True
    stopping: threading.Event = field(default_factory=threading.Event)

    def app(self, tx: Tx, app_id: str) -> App | None:
        """The app with Dify's id, where it is bound."""
        return apps.find(tx, self.server.name, app_id)

    def applying(self, tx: Tx) -> frozenset[str]:
        """Ids of the apps whose channel is being moved right now: what happens to them is told by the operation."""
        return frozenset(tx.connection.execute(_APPLYING, {"target": self.server.pk}).scalars())

    def secrets(self, app_id: str, row: forms.Workflow) -> tuple[dict[str, str], str]:
        """The values of the secret variables of a version or the draft, and why some are not known (or ``""``).

        Raises `DifyUnreachable`, `DifyBusy` and `DifySignInRefused`, after which it can be tried again."""
        if not any(item.get("value_type") == "secret" for item in row.environment_variables):
            return {}, ""
        if not self.exports:
            return {}, "this account may not export secrets"
        try:
            version = None if row.is_draft else row.id
            return contents.secrets_of(self.client.console.export(app_id, version=version, secrets=True)), ""
        except (DifyUnreachable, DifyBusy, DifySignInRefused):
            raise
        except DifyDenied as error:
            self.exports = False
            return {}, str(error)
        except (DifyError, InvalidDocument) as error:
            return {}, str(error)


def may_export(server: Server) -> bool:
    """Whether what was learnt of `server` says that its account may export secrets; asked for where nothing does."""
    learnt: Mapping[str, Any] = server.facts.get("abilities", {}).get("export_secrets", {})
    return bool(learnt.get("value", True)) or learnt.get("how") == "assumed"


def author_of(row: forms.Workflow) -> str:
    """Who made a version, or last saved the draft."""
    person = (row.updated_by or row.created_by) if row.is_draft else row.created_by
    return "" if person is None else person.name or person.email or person.id


def time_of(row: forms.Workflow) -> str | None:
    """When a version was published, or the draft last saved, as stored time."""
    at = (row.updated_at or row.created_at) if row.is_draft else (row.published_at or row.created_at)
    return None if at is None else utc_text(at)


def live_id_of(app: forms.App) -> str | None:
    """Dify's id of the version that an app serves, as the list of apps tells it; None where it was never published,
    or a server does not tell."""
    id = (app.workflow or {}).get("id")
    return id if isinstance(id, str) else None
