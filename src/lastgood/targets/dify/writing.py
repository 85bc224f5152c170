"""Writes on a Dify app that lose nothing: small functions, each of which may be done again, and whose outcome can be
learnt by looking at Dify.

A write's reply may be lost. Then it is looked at what is there, and only what surely was not done is an error."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lastgood import dsl
from lastgood.dsl.secrets import is_mask
from lastgood.errors import DifyDenied, DifyError, DifyLacks, DifyRefused, InvalidDocument, SecretsUnread
from lastgood.targets.dify.bodies import Body, has_secrets, same
from lastgood.targets.dify.client import Client
from lastgood.targets.dify.console import MOST_COMMENT, MOST_NAME
from lastgood.targets.dify.forms import Workflow

_TRIES = 3
_NEWEST = 20


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft as it was read whole: all that a write would need to put it back."""

    row: Workflow
    secrets: Mapping[str, str] = field(repr=False)


def read_draft(client: Client, app: str) -> Draft | None:
    """The draft with the values of its secrets; None where the app has none. Raises `SecretsUnread` where they may
    not be read: then nothing may be written over it, because it could not be put back."""
    row = client.console.draft(app)
    for _ in range(_TRIES):
        if row is None or not has_secrets(row):
            return None if row is None else Draft(row, {})
        secrets = _exported(client, app, None)
        # A save between the two requests would leave the content of one beside the secrets of another.
        now = client.console.draft(app)
        if now is not None and now.raw == row.raw:
            return Draft(now, secrets)
        row = now
    raise SecretsUnread(app=app, server=client.url, reason="it is saved faster than it can be read")


def secrets_of(client: Client, app: str, version: str) -> dict[str, str] | None:
    """The values of the secrets of a published version; None where they may not be read."""
    try:
        return _exported(client, app, version)
    except SecretsUnread:
        return None


def write_draft(client: Client, app: str, body: Body, hash: str | None, meant: dsl.Document) -> Workflow:
    """Write `body` where the draft still has `hash`, and give the draft as it is then. Raises `DifyDraftChanged`."""
    try:
        client.console.sync_draft(
            app,
            graph=body.graph,
            features=body.features,
            hash=hash,
            environment_variables=body.environment_variables,
            conversation_variables=body.conversation_variables,
        )
    except DifyError as error:
        draft = _looked(error, lambda: client.console.draft(app))
        if draft is None or not same(meant, draft):
            raise
        return draft
    return _there(client, app)


def restore_draft(client: Client, app: str, version: str, meant: dsl.Document) -> Workflow | None:
    """Let the server bring `version` back into the draft by itself, and give the draft as it is then; None where it
    cannot do that."""
    try:
        client.console.restore(app, version)
    except DifyLacks:
        return None
    except DifyError as error:
        draft = _looked(error, lambda: client.console.draft(app))
        if draft is None or not same(meant, draft):
            raise
        return draft
    return _there(client, app)


def publish(client: Client, app: str, name: str, mark: str, comment: str) -> Workflow | None:
    """Publish the draft with `mark` at the beginning of the version's comment, and give the version that has it; None
    where none is found."""
    text = f"{mark} {comment}"
    try:
        client.console.publish(app, name=name[:MOST_NAME], comment=text[:MOST_COMMENT].rstrip())
    except DifyError as error:
        found = _looked(error, lambda: published_as(client, app, mark))
        if found is None:
            raise
        return found
    return published_as(client, app, mark)


def published_as(client: Client, app: str, mark: str) -> Workflow | None:
    """The newest version whose comment begins with `mark`: whether that publish was done."""
    live = client.console.published(app)
    if live is not None and _has(live, mark):
        return live
    page = client.console.versions(app, limit=_NEWEST)
    return next((row for row in page.items if not row.is_draft and _has(row, mark)), None)


def _has(row: Workflow, mark: str) -> bool:
    return f"{row.marked_comment} ".startswith(f"{mark} ")


def _there(client: Client, app: str) -> Workflow:
    draft = client.console.draft(app)
    if draft is None:
        raise DifyRefused(server=client.url, what=f"keep the draft of app {app}", said="it is gone after the write")
    return draft


def _looked[T](error: DifyError, look: Callable[[], T]) -> T | None:
    """What there is after a write whose outcome is not known; None where it surely was not done."""
    if error.data.get("done") != "unknown":
        return None
    try:
        return look()
    except DifyError:
        raise error from None


def _exported(client: Client, app: str, version: str | None) -> dict[str, str]:
    try:
        document = dsl.parse(client.console.export(app, version=version, secrets=True), source="the export")
    except DifyDenied as error:
        raise SecretsUnread(app=app, server=client.url, reason=str(error).rstrip(".")) from None
    except InvalidDocument as error:
        raise SecretsUnread(app=app, server=client.url, reason=str(error).rstrip(".")) from None
    found = {}
    for item in document.environment_variables:
        if item.get("value_type") == "secret":
            value = item.get("value")
            if not isinstance(value, str) or is_mask(value):
                raise SecretsUnread(app=app, server=client.url, reason="its export shows masks")
            found[str(item.get("name") or "")] = value
    return found
