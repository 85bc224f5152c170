"""Documents to the form in which a draft is written, and whether what Dify has is what was meant.

Secret values follow one protocol: the value itself where it is known; else `KEEP`, and that only under the id that
the draft itself has for a variable of that name, because under any other Dify stores these letters. What is neither
known nor in the draft is refused before anything is written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from lastgood import dsl
from lastgood.dsl.document import node_data, node_type
from lastgood.errors import DatasetsEncrypted, SecretsUnknown
from lastgood.targets.dify.forms import KEEP, Raw, Workflow

SECRET = "secret"  # noqa: S105 - a kind of variable


@dataclass(frozen=True, slots=True)
class Body:
    """What a write of the draft sends: variables whole. `kept` names the secret variables that keep what the draft
    has."""

    graph: Raw = field(repr=False)
    features: Raw = field(repr=False)
    environment_variables: tuple[Raw, ...] = field(repr=False)
    conversation_variables: tuple[Raw, ...] = field(repr=False)
    kept: tuple[str, ...] = ()


def body_of(
    document: dsl.Document,
    secrets: Mapping[str, str],
    draft: Workflow | None,
    *,
    what: str,
    server: str,
    empty: bool = False,
) -> Body:
    """`document` with the values `secrets`, to be written over `draft`. With `empty`, secrets of which no value is
    known are empty, which is what a draft's are that was read whole.

    `what` and `server` name both in errors: `SecretsUnknown` where a secret has no value here and none in the draft,
    `DatasetsEncrypted` for a document whose knowledge bases only an import could read."""
    encrypted = [one for node in document.nodes for one in _encrypted(node)]
    if encrypted:
        raise DatasetsEncrypted(what=what, nodes=", ".join(sorted(set(encrypted))[:5]), server=server)
    held = ids_of_secrets(draft)
    variables, kept, unknown = [], [], []
    for item in document.environment_variables:
        name = str(item.get("name") or "")
        given = {key: value for key, value in item.items() if key != "value"}
        given["id"] = _id(item, "environment", name)
        if item.get("value_type") != SECRET:
            given["value"] = item.get("value")
        elif name in secrets:
            given["value"] = secrets[name]
        elif empty:
            given["value"] = ""
        elif name in held:
            given |= {"id": held[name], "value": KEEP}
            kept.append(name)
        else:
            unknown.append(name)
        variables.append(given)
    if unknown:
        raise SecretsUnknown(what=what, names=", ".join(sorted(unknown)), server=server)
    return Body(
        graph=document.graph,
        features=document.features,
        environment_variables=tuple(variables),
        conversation_variables=tuple(
            {**item, "id": _id(item, "conversation", str(item.get("name") or ""))}
            for item in document.conversation_variables
        ),
        kept=tuple(kept),
    )


def ids_of_secrets(draft: Workflow | None) -> dict[str, str]:
    """The ids of the draft's secret variables, by name."""
    items = draft.environment_variables if draft is not None else ()
    return {
        str(item.get("name") or ""): str(item["id"])
        for item in items
        if item.get("value_type") == SECRET and item.get("id")
    }


def same(document: dsl.Document, workflow: Workflow) -> bool:
    """Whether `workflow` does what `document` does: graph, features and all variables, the values of secrets aside
    (Dify masks them)."""
    bare, _ = dsl.take_secrets(document)
    return dsl.semantic_digest(bare) == dsl.semantic_digest(_of(workflow))


def same_draft(document: dsl.Document, workflow: Workflow) -> bool:
    """Whether the draft `workflow` is still what was read as `document`, layout included, the values of secrets
    aside."""
    bare, _ = dsl.take_secrets(document)
    return _parts(bare) == _parts(_of(workflow))


def has_secrets(workflow: Workflow) -> bool:
    """Whether it has secret variables."""
    return any(item.get("value_type") == SECRET for item in workflow.environment_variables)


def _of(workflow: Workflow) -> dsl.Document:
    """The document of `workflow` without its secrets, of no app."""
    content = {
        "graph": workflow.graph,
        "features": workflow.features,
        "environment_variables": list(workflow.environment_variables),
        "conversation_variables": list(workflow.conversation_variables),
        "rag_pipeline_variables": list(workflow.rag_pipeline_variables),
    }
    return dsl.take_secrets(dsl.Document({"app": {"mode": "workflow"}, "workflow": content}))[0]


def _parts(document: dsl.Document) -> bytes:
    variables = [
        [{k: v for k, v in item.items() if k != "selector"} for item in items]
        for items in (document.environment_variables, document.conversation_variables)
    ]
    return dsl.canonical([document.graph, document.features, *variables])


def _id(item: Mapping[str, Any], kind: str, name: str) -> str:
    """The variable's own id; one that is always the same for a name where it has none (Dify asks for one)."""
    id = item.get("id")
    return id if isinstance(id, str) and id else str(uuid5(NAMESPACE_URL, f"lastgood/{kind}/{name}"))


def _encrypted(node: dict[str, Any]) -> list[str]:
    """The node's title, where its knowledge bases are as exports write them: encrypted for one workspace."""
    if node_type(node) != "knowledge-retrieval":
        return []
    data = node_data(node)
    ids = data.get("dataset_ids")
    bad = [one for one in ids if not _is_uuid(one)] if isinstance(ids, list) else []
    return [str(data.get("title") or node.get("id"))] if bad else []


def _is_uuid(value: Any) -> bool:
    try:
        return bool(UUID(value))
    except (ValueError, TypeError, AttributeError):
        return False
