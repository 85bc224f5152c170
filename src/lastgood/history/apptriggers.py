"""What starts the versions of a channel that a Dify app runs: Dify binds it, and what was last seen of it is told."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lastgood.db.tx import Tx
from lastgood.dsl.triggers import Trigger, triggers
from lastgood.history import apps, integrations, versions
from lastgood.history.apps import App
from lastgood.history.integrations import Former, Part
from lastgood.history.workflows import Workflow

_PREFIX = "trigger-"


@dataclass(frozen=True, slots=True)
class AppTrigger:
    """A trigger of an app as it was last seen (`seen_at`; None: its app was never read). `state` is Dify's word
    (``enabled``, ``disabled``, …), or ``gone``; `url` a webhook's address, and `before` the one it had."""

    node: str
    kind: str
    title: str
    state: str
    server: str
    app: str
    channel: str
    version: str | None
    cron: str
    timezone: str
    problem: str
    changed_at: str
    seen_at: str | None
    url: str = field(default="", repr=False)
    before: Former | None = None

    def public(self) -> dict[str, Any]:
        """Its JSON form, of the same names as that of the triggers that are bound here, addresses included."""
        return {
            "node": self.node,
            "kind": self.kind,
            "title": self.title,
            "channel": self.channel,
            "state": self.state,
            "version": None if self.state == "gone" else self.version,
            "generation": None,
            "url": self.url or None,
            "before": {"url": self.before.secret, "until": self.before.until} if self.before else None,
            "cron": self.cron or None,
            "timezone": self.timezone or None,
            "problem": self.problem or None,
            "next": None,
            "last": None,
            "enabled": self.state == "enabled",
            "server": self.server,
            "app": self.app,
            "changed_at": self.changed_at,
            "seen_at": self.seen_at,
        }


def of_workflow(tx: Tx, workflow: Workflow) -> list[AppTrigger]:
    """The triggers of every Dify app of `workflow`, also those that are gone. Raises `Unsealable`."""
    return [one for app in apps.of_workflow(tx, workflow) for one in _of_app(tx, app)]


def _of_app(tx: Tx, app: App) -> Iterator[AppTrigger]:
    known, hooks = _by_node(tx, app, "trigger"), _by_node(tx, app, "webhook")
    declared = _declared(tx, app) if known else {}
    for node in dict.fromkeys([*known, *hooks]):
        yield _trigger(tx, app, node, known.get(node), hooks.get(node), declared.get(node))


def _by_node(tx: Tx, app: App, kind: Literal["trigger", "webhook"]) -> dict[str, Part]:
    """By node; one that became of another kind is there twice, and what is there now counts."""
    found = sorted(integrations.listing(tx, app, kind), key=lambda part: part.gone_at is None)
    return {str(part.state.get("node") or part.name): part for part in found}


def _declared(tx: Tx, app: App) -> Mapping[str, Trigger]:
    """The trigger nodes of what the app serves."""
    if app.live_pk is None:
        return {}
    return {one.node: one for one in triggers(versions.document_of(tx, versions.by_pk(tx, app.live_pk)))}


def _trigger(
    tx: Tx, app: App, node: str, known: Part | None, hook: Part | None, declared: Trigger | None
) -> AppTrigger:
    state: Mapping[str, Any] = known.state if known is not None else {}
    gone = known.gone_at is not None if known is not None else hook is not None and hook.gone_at is not None
    url, before = "", None
    if hook is not None:
        url, before = integrations.secret_of(tx, app, hook), integrations.former_of(tx, app, hook)
        if hook.gone_at is not None:
            url, before = "", Former(url, hook.gone_at) if url else before
    times = declared.schedule if declared is not None and not gone else None
    changed = [part.changed_at for part in (known, hook) if part is not None]
    return AppTrigger(
        node=node,
        kind=str(state.get("kind") or ("trigger-webhook" if hook else "")).removeprefix(_PREFIX),
        title=str(state.get("title") or ""),
        state="gone" if gone else str(state.get("status") or "enabled"),
        server=app.target,
        app=app.name,
        channel=app.channel,
        version=app.live,
        cron=times.cron if times else "",
        timezone=times.timezone if times else "",
        problem=times.problem if times else "",
        changed_at=max(changed),
        seen_at=app.read.get("around"),
        url=url,
        before=before,
    )
