"""Putting a kept state, or a version, into the draft of an app, the present one kept first."""

from dataclasses import dataclass
from typing import Any

from lastgood import dsl
from lastgood.db import audit
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import DifyDraftChanged, DraftTaken, StillApplying
from lastgood.history import apps, channels, drafts, versions, workflows
from lastgood.history.apps import App
from lastgood.history.workflows import Workflow
from lastgood.ids import is_version
from lastgood.release.means import Means
from lastgood.targets.dify import writing
from lastgood.targets.dify.bodies import body_of
from lastgood.targets.dify.contents import document_of
from lastgood.targets.dify.source import author_of, time_of


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put into which draft, and under which id the state is kept that was there."""

    app: App
    what: str
    kept: str | None

    def public(self) -> dict[str, Any]:
        """Its JSON form."""
        return {"server": self.app.target, "app": self.app.app_id, "name": self.app.name, "restored": self.what,
                "kept": self.kept}  # fmt: skip


def restore(means: Means, who: Principal, ref: str, what: str, channel: str = channels.LIVE) -> Restored:
    """Put the draft state or version `what` into the draft in Dify; of a state, the app that it was kept of.

    Raises `UnknownDraft`, `UnknownVersion`, `UnknownApp`, `StillApplying`, `SecretsUnknown`, `SecretsUnread`,
    `DraftTaken` where somebody saves at the same time, `DifyError`."""
    with means.store.read() as tx:
        workflow = workflows.find(tx, ref)
        app, document, secrets = _content(tx, workflow, what, channel)
        pointer = channels.get(tx, workflow, app.channel)
    if pointer.applying is not None:
        raise StillApplying(channel=pointer.name, workflow=workflow.slug, operation=pointer.applying)
    client = means.dify(app.target)
    held = writing.read_draft(client, app.app_id)
    body = body_of(document, secrets, held.row if held else None, what=what, server=app.target)

    def keep(tx: Tx) -> str | None:
        audit.append(
            tx, who, "draft:restore", f"workflow/{workflow.id}/draft/{what}", server=app.target, app=app.app_id
        )
        if held is None:
            return None
        return drafts.keep(
            tx, app, document_of(workflow, held.row, held.secrets), held.secrets, held.row.hash[:64],
            author_of(held.row), time_of(held.row), "restore", who=who,
        ).id  # fmt: skip

    kept = means.store.write(keep)
    try:
        writing.write_draft(client, app.app_id, body, held.row.hash if held else None, document)
    except DifyDraftChanged:
        now = client.console.draft(app.app_id)
        raise DraftTaken(
            app=app.name, server=app.target, who=(author_of(now) if now else "") or "somebody",
            at=((time_of(now) if now else "") or "")[:19], operation="this", what="it was saved at this very moment",
        ) from None  # fmt: skip
    return Restored(app, what, kept)


def _content(tx: Tx, workflow: Workflow, what: str, channel: str) -> tuple[App, dsl.Document, dict[str, str]]:
    if is_version(what):
        version = versions.find(tx, what, workflow)
        document = versions.document_of(tx, version, whole=True)
        return apps.get(tx, workflow, channel), document, versions.secrets_of(tx, version)
    draft = drafts.get(tx, what)
    return apps.by_pk(tx, draft.app_pk), drafts.document_of(tx, draft), drafts.secrets_of(tx, draft)
