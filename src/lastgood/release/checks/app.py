"""What is bound to a Dify app and stands in none of its versions, after a move: that the app serves what it should,
and its tool, triggers and webhooks. Addresses are secret: that one changed is told, not what it is, and which command
shows both."""

from collections.abc import Iterator
from typing import Any

from lastgood.errors import DifyError
from lastgood.history import apps, channels, integrations, placements
from lastgood.history.apps import App
from lastgood.release.checks.case import Case, Checked
from lastgood.release.placing import looking
from lastgood.targets.dify import around

_SERVES = "the app serves the version that the channel points to"


def record(case: Case) -> dict[str, Any]:
    """What was bound to the app before the move, by kind and name."""
    app = _app(case)
    if app is None:
        return {}
    try:
        around.observe(looking.source_of(case.means, app), app.app_id)
    except DifyError:
        return {}
    return {"bound": _bound(case, app)}


def check(case: Case) -> Iterator[Checked]:
    """Nothing for a channel that no Dify app runs."""
    app = _app(case)
    if app is None:
        return
    yield _serves(case, app)
    before = case.baseline.get("app", {}).get("bound")
    if before is None:
        yield _told("ties", "skipped", "what is bound to the app is as before the move", "no move was looked at")
        return
    try:
        around.observe(looking.source_of(case.means, app), app.app_id)
    except DifyError as error:
        yield _told("ties", "unknown", "what is bound to the app can be read", str(error))
        return
    yield from _compared(before, _bound(case, app), app)


def _compared(before: dict[str, Any], now: dict[str, Any], app: App) -> Iterator[Checked]:
    for name, was in before.items():
        kind, subject, found = was["kind"], name, now.get(name)
        if kind == "webhook":
            expected = "the webhook keeps its address"
            if found is None:
                said = f"it is gone: callers of the old address get 404; {_shown(app)} shows which"
                yield _told(subject, "fail", expected, said)
            elif found["secret"] != was["secret"]:
                said = f"it has another address now, and callers of the old one get 404; {_shown(app)} shows both"
                yield _told(subject, "fail", expected, said)
            else:
                yield _told(subject, "pass", expected, "it does")
        elif kind == "trigger":
            expected = f"the trigger is {was['status'] or 'as it was'}"
            if found is None:
                yield _told(subject, "fail", expected, "it was removed by the publish")
            elif found["status"] != was["status"]:
                yield _told(subject, "fail", expected, f"it is {found['status']}")
            else:
                yield _told(subject, "pass", expected, "it is")
    for name, found in now.items():
        if found["kind"] == "webhook" and name not in before:
            said = f"it is new, and nobody calls it yet; {_shown(app)} shows it, and any that it had before"
            yield _told(name, "fail", "no webhook has a new address", said)
        if found["kind"] == "tool":
            yield _tool(name, found, app)


def _shown(app: App) -> str:
    return f"`lastgood triggers {app.slug}`"


def _tool(name: str, found: dict[str, Any], app: App) -> Checked:
    expected = "the workflow tool runs what is live"
    if found["synced"] is False:
        said = (
            f"it still runs the version that it was saved with, and its callers with it; save the tool of {app.name} "
            "again in Dify"
        )
        return _told(name, "fail", expected, said)
    if found["synced"] is None:
        return _told(name, "unknown", expected, "the server does not tell")
    return _told(name, "pass", expected, "its inputs are those of the live version")


def _serves(case: Case, app: App) -> Checked:
    seen = looking.look(case.means, app)
    if seen.problem is not None:
        return Checked("app", "unknown", _SERVES, str(seen.problem), subject=app.name)
    found = seen.version.id if seen.version else "something that is not in history"
    if seen.version is not None and seen.version.pk == case.version.pk:
        return Checked("app", "pass", _SERVES, found, subject=app.name)
    with case.means.store.read() as tx:
        placed = placements.current(tx, app, case.version)
    if app.way == "route" and placed is not None:
        said = f"the gateway names its row; the app itself serves {found} until it is published in the background"
        return Checked("app", "pass", _SERVES, said, subject=app.name)
    return Checked("app", "fail", _SERVES, found, subject=app.name)


def _told(subject: str, verdict: Any, expected: str, found: str) -> Checked:
    """Of what is bound to an app: told, and no reason to undo a move, which would not bring it back."""
    return Checked("app", verdict, expected, found, subject=subject, required=False)


def _app(case: Case) -> App | None:
    with case.means.store.read() as tx:
        return apps.of_channel(tx, channels.present(tx, case.workflow, case.channel).pk)


def _bound(case: Case, app: App) -> dict[str, Any]:
    """The triggers, webhooks and the tool as they are kept, addresses as keyed hashes."""
    with case.means.store.read() as tx:
        ring, found = tx.ring, {}
        for part in integrations.listing(tx, app):
            if part.gone_at is not None or part.kind not in ("trigger", "webhook", "tool"):
                continue
            secret = integrations.secret_of(tx, app, part)
            found[f"{part.kind} {part.name}".strip()] = {
                "kind": part.kind,
                "status": part.state.get("status"),
                "synced": part.state.get("synced"),
                "secret": ring.fingerprint(secret) if secret else "",
            }
    return found
