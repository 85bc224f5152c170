"""The triggers of a document: what starts it by itself."""

from dataclasses import dataclass
from typing import Final, Literal

from lastgood.dsl import schedule, webhook
from lastgood.dsl.document import Document
from lastgood.dsl.index import Index
from lastgood.dsl.schedule import Schedule
from lastgood.dsl.webhook import Webhook

Kind = Literal["webhook", "schedule", "plugin"]
_KINDS: Final[dict[str, Kind]] = {
    "trigger-webhook": "webhook",
    "trigger-schedule": "schedule",
    "trigger-plugin": "plugin",
}


@dataclass(frozen=True, slots=True)
class Trigger:
    """One trigger node. A webhook has its declaration, a schedule its times; a plugin's is Dify's affair."""

    node: str
    kind: Kind
    title: str
    webhook: Webhook | None = None
    schedule: Schedule | None = None


def triggers(document: Document) -> tuple[Trigger, ...]:
    """The trigger nodes of a workflow, in canvas order; other apps have none."""
    if document.mode != "workflow":
        return ()
    return tuple(
        Trigger(
            node.id,
            kind,
            node.title,
            webhook=webhook.read(node.data) if kind == "webhook" else None,
            schedule=schedule.read(node.data) if kind == "schedule" else None,
        )
        for node in Index(document).of_type(*_KINDS)
        if not node.parent
        for kind in (_KINDS[node.type],)
    )
