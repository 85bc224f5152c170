"""Whether the target knows the version's nodes, and whether Dify's graph engine can load what they make."""

from collections.abc import Iterator
from typing import Final

from lastgood.dsl.rules import listed
from lastgood.release.plan import Verdict
from lastgood.release.preflight.content import Content
from lastgood.release.preflight.facts import Answer, Engine, Facts, Unknown, Unlearnt, in_service, known

_MOST: Final = 5

GRAPHS: Final = frozenset({"workflow", "advanced-chat"})
# Every type that Dify has had since 1.9.
DIFY: Final = frozenset(
    {
        *("start", "end", "answer", "llm", "knowledge-retrieval", "knowledge-index", "if-else", "code"),
        *("template-transform", "question-classifier", "http-request", "tool", "datasource", "datasource-empty"),
        *("variable-aggregator", "variable-assigner", "loop", "loop-start", "loop-end", "iteration"),
        *("iteration-start", "parameter-extractor", "assigner", "document-extractor", "list-operator", "agent"),
        *("trigger-webhook", "trigger-schedule", "trigger-plugin", "human-input"),
    }
)
# Those that came later than that, with the first Dify that has them.
_SINCE: Final = {
    **dict.fromkeys(("trigger-webhook", "trigger-schedule", "trigger-plugin"), "1.10"),
    "human-input": "1.13",
}


def nodes(facts: Facts) -> Iterator[Answer]:
    """Whether the target knows the type of every node that a run can reach."""
    to = facts.to.version
    content = known(facts.to.content)
    if facts.target.embedded:
        engine = known(facts.engine)
        if engine.foreign:
            yield Answer(
                "refuse",
                f"The embedded engine cannot run {to}: {_some(engine.foreign)}. Go to another version, or run this "
                "workflow on Dify.",
            )
        else:
            yield Answer("pass", f"The embedded engine knows every node of {to}.")
        return
    now = in_service(facts)
    running = now.types if now is not None else frozenset()
    if not isinstance(facts.target.types, Unknown):
        yield from _asked(facts, content.types - running, facts.target.types)
        return
    strange = content.types - DIFY - running
    young = {kind: since for kind in content.types - running if (since := _SINCE.get(kind))}
    if strange:
        yield Answer(
            "warn",
            f"{to} has nodes of the types {listed(sorted(strange), _MOST)}, which Dify is not known to have. Make "
            f"sure that {facts.target.name} knows them.",
        )
    if young:
        told = listed((f"{kind} (Dify {since})" for kind, since in sorted(young.items())), _MOST)
        yield Answer(
            "warn",
            f"{to} has nodes of types that only newer Difys know, and what is in service has none of them: {told}. "
            f"Look at the version of {facts.target.name}.",
            "newer types",
        )
    if not strange and not young:
        why = facts.target.types.reason
        yield Answer("pass", f"Every node type of {to} is one that Dify has; as to {facts.target.name}, {why}.")


def _asked(facts: Facts, types: frozenset[str], told: frozenset[str]) -> Iterator[Answer]:
    """What the target itself says of `types` (those in service run there). What Dify is known to have may be left out
    of the list, as what only stands inside other nodes."""
    to, name = facts.to.version, facts.target.name
    missing, doubtful = types - told - DIFY, (types - told) & DIFY
    if missing:
        yield Answer(
            "refuse",
            f"{name} says that it does not know the node types {listed(sorted(missing), _MOST)} of {to}: it would "
            "take the version, and every run would fail. Go to another version.",
        )
    if doubtful:
        yield Answer(
            "warn",
            f"{name} does not list the node types {listed(sorted(doubtful), _MOST)} of {to}, which Difys have. Make "
            "sure that it knows them.",
            "not listed",
        )
    if not missing and not doubtful:
        yield Answer("pass", f"{name} says that it knows every node type of {to}.")


def loads(facts: Facts) -> Iterator[Answer]:
    """Whether Dify's own graph engine would load the version."""
    content = known(facts.to.content)
    to = facts.to.version
    if content.mode not in GRAPHS:
        yield _no_graph(facts, content)
        return
    try:
        engine = known(facts.engine)
    except Unlearnt as reason:
        yield Answer(
            "warn",
            f"Whether Dify's graph engine would load {to} is not known: {reason}. Install lastgood[engine] here.",
        )
        return
    if engine.broken:
        # The engine here is one release of Dify's; the target's may be another.
        verdict: Verdict = "refuse" if facts.target.embedded else "warn"
        yield Answer(
            verdict,
            f"Dify's graph engine does not load {to}: {_some(engine.broken)}. Mend it in a new version, or go to "
            "another one.",
        )
        return
    yield Answer("pass", f"Dify's graph engine loads {to}{_but(engine)}.")


def _no_graph(facts: Facts, content: Content) -> Answer:
    said = f"{facts.to.version} is a {content.mode} app"
    if facts.target.embedded:
        return Answer("refuse", f"{said}, which the embedded engine does not run. Run this workflow on Dify.")
    if content.has_graph:
        return Answer("warn", f"{said}, which the engine here is not asked about. Try it on {facts.target.name}.")
    return Answer("pass", f"{said}, which has no graph to load.")


def _but(engine: Engine) -> str:
    if not engine.unseen:
        return ""
    return f"; its nodes of the types {listed(sorted(engine.unseen), _MOST)} were not looked at"


def _some(reasons: tuple[str, ...]) -> str:
    more = f"; and {len(reasons) - _MOST} more" if len(reasons) > _MOST else ""
    return "; ".join(reasons[:_MOST]) + more
