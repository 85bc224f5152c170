"""What was learnt on newer versions, in terms that the older one does not know: it stays, and is told of."""

from collections.abc import Iterator
from typing import Any, Final

import jmespath

from lastgood.dsl.index import mapping
from lastgood.dsl.rules import listed
from lastgood.dsl.shapes import Interface, check_inputs
from lastgood.release.preflight.facts import Answer, Facts, known

_MOST: Final = 6
# Expressions that go on from their first part.
_STEPS: Final = frozenset(
    {"subexpression", "index_expression", "projection", "filter_projection", "value_projection", "flatten"}
)


def evidence(facts: Facts) -> Iterator[Answer]:
    """Evidence on newer versions, which no move drops, and smoke requests that ask for what the
    version does not have."""
    found, to = known(facts.evidence), facts.to.version
    if found.newer:
        pieces = ", ".join(f"{count} {kind}" for kind, count in sorted(found.newer.items()))
        yield Answer(
            "pass", f"Evidence on versions newer than {to} stays with them, whatever {to} can read of it: {pieces}."
        )
    else:
        yield Answer("pass", f"No evidence is kept on versions newer than {to}.")
    interface = known(facts.to.content).interface
    outputs = _outputs(interface)
    for id, (sent, named) in sorted(found.smokes.items()):
        lacking = sorted(named - outputs) if outputs is not None else []
        told = [f"it looks at {listed(lacking, _MOST)}, which {to} does not give"] if lacking else []
        told += [one.message for one in check_inputs(sent, interface) if one.verdict == "broken"]
        if told:
            yield Answer(
                "warn",
                f"Smoke request {id} is kept, and {to} may fail it when the move is verified: {'; '.join(told)}. "
                "Verify without it, or remove it.",
                id,
            )


def outputs_in(expression: str) -> frozenset[str]:
    """The outputs that an expectation of a smoke request looks at: ``total`` of ``outputs.total > `0```. The
    expression has been compiled before."""
    return frozenset(_named(jmespath.compile(expression).parsed))


def _named(part: Any) -> Iterator[str]:
    inner: list[Any] = part["children"]
    if part["type"] in ("subexpression", "pipe") and inner[0].get("value") == "outputs":
        name = _first(inner[1])
        if name is not None:
            yield name
    for one in inner:
        if isinstance(one, dict):  # a slice has numbers
            yield from _named(one)


def _first(part: Any) -> str | None:
    """The name that an expression begins with: ``lines`` of ``lines[0].sum``."""
    while part["type"] in _STEPS:
        part = part["children"][0]
    return str(part["value"]) if part["type"] == "field" else None


def _outputs(interface: Interface) -> frozenset[str] | None:
    """The names that a run gives, None where they are not known."""
    if interface.chat:
        return None
    ends = [mapping(end) for end in interface.outputs.get("anyOf") or [interface.outputs]]
    return frozenset(name for end in ends for name in mapping(end.get("properties")))
