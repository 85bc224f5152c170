"""What a lint rule is, what it looks at and what it finds."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from lastgood.dsl.dependencies import dependencies
from lastgood.dsl.document import Document
from lastgood.dsl.flow import Flow
from lastgood.dsl.index import Index, Node, text
from lastgood.dsl.interface import inputs
from lastgood.dsl.references import Reference, References

type Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that a rule found: in which node (its id and title, ``""`` for the document as a whole), at which
    path of the document, and a sentence; `line` is its line in the text, where `lint` was given the places in that.
    No sentence holds a secret value."""

    rule: str
    severity: Severity
    node: str
    title: str
    path: str
    sentence: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of mistake. `summary` says in a sentence what is wrong, `why` what comes of it, `example` shows it."""

    id: str
    severity: Severity
    summary: str
    why: str
    example: str

    def at(self, node: Node | None, path: str, sentence: str, severity: Severity | None = None) -> Problem:
        """A finding in `node`; `path` is whole, or begins with a dot and goes on from the node's data."""
        where = f"{node.path}.data{path}" if node and path[:1] == "." else path or (node.path if node else "")
        return Problem(
            self.id, severity or self.severity, node.id if node else "", node.title if node else "", where, sentence
        )


class Subject:
    """A document under examination, with what several rules ask about it."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.index = Index(document)
        self.references = References(self.index)
        self.flow = Flow(self.index)

    @cached_property
    def used(self) -> tuple[Reference, ...]:
        """The references that the engine reads."""
        return tuple(found for found in self.references.all if found.active)

    @cached_property
    def needs(self) -> dict[str, list[dict[str, Any]]]:
        """What the document needs from outside."""
        return dependencies(self.document)

    @cached_property
    def variable_names(self) -> frozenset[str]:
        """What a caller's inputs and the variables beside the nodes are called."""
        document = self.document
        beside = [*document.environment_variables, *document.conversation_variables]
        given = [field.name for field in inputs(document)] if document.has_graph else []
        return frozenset([*given, *(text(item.get("name")) for item in beside)]) - {""}

    def running(self, *types: str) -> Iterator[Node]:
        """The nodes of these types (all for none) that a run may reach, in canvas order."""
        nodes = self.index.of_type(*types) if types else iter(self.index.nodes.values())
        return (node for node in nodes if node.id in self.flow.reachable)

    def named(self, node_id: str) -> str:
        """A node as sentences name it: by its title in quotes."""
        return quoted(self.index.nodes[node_id].title)


def quoted(name: Any) -> str:
    """A name within a sentence, on one line and not too long."""
    words = " ".join(str(name).split())
    return f"“{words if len(words) <= 60 else words[:59] + '…'}”"


def listed(names: list[str], most: int = 3) -> str:
    """Some names in a sentence."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
