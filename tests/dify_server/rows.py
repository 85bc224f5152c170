"""Dify's workflow rows: the draft and the versions, and the rules by which their secrets are kept and masked."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

MASK = "*" * 20
HIDDEN = "[__HIDDEN__]"
KINDS = ("string", "number", "integer", "float", "secret", "boolean", "object")
FEATURES: dict[str, Any] = {
    "opening_statement": "",
    "suggested_questions": [],
    "suggested_questions_after_answer": {"enabled": False},
    "text_to_speech": {"enabled": False, "voice": "", "language": ""},
    "speech_to_text": {"enabled": False},
    "retriever_resource": {"enabled": True},
    "sensitive_word_avoidance": {"enabled": False},
    "file_upload": {"enabled": False},
}
Variables = list[dict[str, Any]]


def clone[T](value: T) -> T:
    """A copy of JSON, made the quick way."""
    made: T = json.loads(json.dumps(value))
    return made


@dataclass
class Row:
    """A row of Dify's workflow table: the draft or a version. `created_by` and `updated_by` are account ids."""

    id: str
    version: str
    graph: dict[str, Any]
    features: dict[str, Any]
    environment_variables: Variables
    conversation_variables: Variables
    marked_name: str = ""
    marked_comment: str = ""
    created_at: int = 0
    created_by: str = ""
    updated_at: int = 0
    updated_by: str = ""

    def hash(self, newer: bool) -> str:
        """1.13.0 hashes graph and features, 1.14.2 the graph alone."""
        content = {"graph": self.graph} if newer else {"graph": self.graph, "features": self.features}
        return hashlib.sha256(f"{json.dumps(content, sort_keys=True)}None".encode()).hexdigest()

    def copy(self, **changes: Any) -> "Row":
        """A row of its own with the same content."""
        made = replace(
            self, graph=clone(self.graph), features=clone(self.features),
            environment_variables=clone(self.environment_variables),
            conversation_variables=clone(self.conversation_variables),
        )  # fmt: skip
        for name, value in changes.items():
            setattr(made, name, value)
        return made

    def node(self, kind: str) -> dict[str, Any] | None:
        """The first node of this kind."""
        found = (one for one in self.graph.get("nodes") or [] if one["data"].get("type") == kind)
        return next(found, None)

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """The variables that its start node asks for."""
        start = self.node("start")
        return list(start["data"].get("variables") or []) if start else []


def stored(sent: Variables, old: Variables, newer: bool, mask_kept: bool) -> Variables:
    """Environment variables as they are stored. A secret sent as ``[__HIDDEN__]`` keeps the old value of the same id;
    where `mask_kept` 1.14.2 reads twenty asterisks the same way."""
    known = {one.get("id"): one.get("value") for one in old}
    made = []
    for one in sent:
        kept = {name: value for name, value in one.items() if name != "selector"}  # made of the name when asked for
        kept.setdefault("id", str(uuid4()))
        kept.setdefault("description", "")
        if kept.get("value_type") == "number":  # what an export tells it as
            kept["value_type"] = "float" if isinstance(kept.get("value"), float) else "integer"
        if kept.get("value_type") == "secret":
            value = HIDDEN if newer and mask_kept and kept.get("value") == MASK else kept.get("value")
            kept["value"] = known[kept["id"]] if value == HIDDEN and kept["id"] in known else value
        made.append(kept)
    return made


_KINDS = {"integer": "number", "float": "number"}  # as lists show them


def masked(variables: Variables) -> Variables:
    """As drafts and versions show them."""
    return [{**one, "value": MASK} if one["value_type"] == "secret" else one for one in shown(variables)]


def shown(variables: Variables) -> Variables:
    """With their values."""
    told = []
    for one in variables:
        kept = {
            "id": one.get("id"), "name": one.get("name"), "value": one.get("value"),
            "value_type": _KINDS.get(one.get("value_type", ""), one.get("value_type")),
            "description": one.get("description", ""),
        }  # fmt: skip
        told.append(kept)
    return told


@dataclass
class FakeApp:
    """An app with its rows, keys and what belongs to no version. `versions` are newest first; `live` is the id that
    the app's pointer holds, and the newest version where nothing else was said."""

    id: str
    name: str
    mode: str = "workflow"
    draft: Row | None = None
    versions: list[Row] = field(default_factory=list)
    keys: list[dict[str, Any]] = field(default_factory=list)
    triggers: list[dict[str, Any]] = field(default_factory=list)
    webhooks: dict[str, dict[str, Any]] = field(default_factory=dict)
    mcp: dict[str, Any] | None = None
    tool: dict[str, Any] | None = None
    runs: list[dict[str, Any]] = field(default_factory=list)
    conversations: list[Any] = field(default_factory=list)
    created_at: int = 1_795_454_310
    updated_at: int = 1_795_454_310
    tenant: str = ""
    created_by: str = ""
    updated_by: str = ""
    description: str = ""
    icon: str | None = "🤖"
    icon_background: str | None = "#FFEAD5"
    enable_api: bool = True
    max_active_requests: int | None = None
    site: dict[str, Any] = field(default_factory=dict)
    active: int = 0
    pointer: str = ""

    @property
    def live(self) -> Row | None:
        """The version that the app serves."""
        found = (one for one in self.versions if one.id == self.pointer)
        return next(found, None) or (self.versions[0] if self.versions else None)

    @property
    def rows(self) -> list[Row]:
        return [*([self.draft] if self.draft else []), *self.versions]
