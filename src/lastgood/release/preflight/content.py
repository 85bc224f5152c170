"""What a preflight has to know of a version's document: its format, its needs, its interface, its variables."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lastgood.dsl.canonical import folded
from lastgood.dsl.dependencies import dependencies
from lastgood.dsl.document import Document
from lastgood.dsl.flow import Flow
from lastgood.dsl.index import Index, text
from lastgood.dsl.references import References
from lastgood.dsl.shapes import Interface, interface_of
from lastgood.release.preflight.toolcalls import ToolCall, calls_of

# What a target must have, by the kind under which `dependencies` lists it.
NEEDS: Final = ("plugins", "models", "knowledge_bases", "tools")
_NUMBERS: Final = frozenset({"integer", "float"})

type Needs = Mapping[str, Mapping[str, tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Content:
    """A document as the checks see it. Only what a run can reach counts.

    `needs` are by kind (`NEEDS`) and name, with the versions that are asked for; `calls` are those of workflow tools.
    `secrets` says of each secret variable whether a node reads it, `environment` gives a digest of each other
    variable's type and value, `undeclared` the environment variables that nodes read and that do not exist, and
    `conversation` the type of each conversation variable."""

    mode: str
    format: str
    has_graph: bool
    types: frozenset[str]
    needs: Needs
    calls: tuple[ToolCall, ...]
    interface: Interface
    secrets: Mapping[str, bool]
    environment: Mapping[str, str]
    undeclared: tuple[str, ...]
    conversation: Mapping[str, str]


def content_of(document: Document) -> Content:
    """What `document` (secret values left out) is to the checks."""
    index = Index(document)
    reached = Flow(index).reachable if document.has_graph else frozenset()
    references = References(index)
    listed = dependencies(document)
    return Content(
        mode=document.mode,
        format=document.dsl_version,
        has_graph=document.has_graph,
        types=frozenset(index.nodes[node].type for node in reached) - {""},
        needs={kind: dict(_needs(kind, listed[kind], reached)) for kind in NEEDS},
        calls=calls_of(index, references, reached),
        interface=interface_of(document),
        secrets={one["name"]: bool(reached.intersection(one["nodes"])) for one in listed["secrets"]},
        environment=dict(_environment(document)),
        undeclared=tuple(
            sorted(
                {
                    use.selector[1]
                    for use in references.users("env")
                    if use.active and use.node in reached and use.problem == "unknown-variable"
                }
            )
        ),
        conversation={
            name: plain_type(text(item.get("value_type")))
            for item in document.conversation_variables
            if (name := text(item.get("name")))
        },
    )


def plain_type(name: str) -> str:
    """A variable's type as exports and the API both call it; text where a document says none."""
    return "number" if name in _NUMBERS else name or "string"


def _needs(
    kind: str, entries: list[dict[str, Any]], reached: frozenset[str]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    for entry in entries:
        # What no node names, the app as a whole needs.
        if entry["nodes"] and reached.isdisjoint(entry["nodes"]):
            continue
        if kind != "tools" or entry["provider_type"] != "workflow":  # those are looked at by their own interface
            yield _name(kind, entry), tuple(entry.get("versions", ()))


def _name(kind: str, entry: Mapping[str, Any]) -> str:
    if kind == "models":
        return f"{entry['name']} of {entry['provider']}" if entry["provider"] else str(entry["name"])
    if kind == "tools":
        provider = entry.get("provider_name") or entry["provider"]
        return f"{entry['tool']} of {provider}" if provider else str(entry["tool"])
    return str(entry["id"])


def _environment(document: Document) -> Iterator[tuple[str, str]]:
    for item in document.environment_variables:
        name, kind = text(item.get("name")), plain_type(text(item.get("value_type")))
        if name and kind != "secret":
            yield name, hashlib.sha256(folded([kind, item.get("value")])).hexdigest()
