"""Every check on a planned move, and what all of them find."""

from collections.abc import Callable, Iterable
from typing import Final

from lastgood.release.means import Means
from lastgood.release.plan import Finding, PlannedMove
from lastgood.release.preflight.callers import callers
from lastgood.release.preflight.conversations import conversations
from lastgood.release.preflight.evidence import evidence
from lastgood.release.preflight.facts import Answer, Facts, Unlearnt
from lastgood.release.preflight.format import dsl_version
from lastgood.release.preflight.gathering import gather
from lastgood.release.preflight.middleware import middleware
from lastgood.release.preflight.needs import knowledge_bases, models, plugins, tools
from lastgood.release.preflight.nodes import loads, nodes
from lastgood.release.preflight.state import content, state
from lastgood.release.preflight.variables import environment, secrets
from lastgood.release.preflight.workflowtools import workflow_tools

Check = Callable[[Facts], Iterable[Answer]]

CHECKS: Final[dict[str, Check]] = {
    "state": state,
    "content": content,
    "dsl-version": dsl_version,
    "nodes": nodes,
    "engine": loads,
    "plugins": plugins,
    "models": models,
    "knowledge-bases": knowledge_bases,
    "tools": tools,
    "workflow-tools": workflow_tools,
    "middleware": middleware,
    "secrets": secrets,
    "environment": environment,
    "conversations": conversations,
    "callers": callers,
    "evidence": evidence,
}
_LONGEST: Final = 1000


def examine(means: Means, planned: PlannedMove, *, force: bool) -> list[Finding]:
    """What speaks for and against `planned`: at least one finding of each check. `force` lets a failed version pass
    with a warning. Asks middleware for its version; changes nothing.

    Raises `UnknownWorkflow`, `UnknownVersion`, `StoreUnreachable`."""
    return judge(gather(means, planned, force=force))


def judge(facts: Facts, checks: dict[str, Check] = CHECKS) -> list[Finding]:
    """The findings of `checks` on `facts`. A check that cannot learn what it asks for, or fails of itself, warns."""
    place = f"{facts.workflow}/{facts.channel}"
    found = [
        Finding(name, answer.verdict, _told(answer.sentence), f"{place} {answer.about}".rstrip())
        for name, check in checks.items()
        for answer in _answers(name, check, facts)
    ]
    return list(dict.fromkeys(found))


def _answers(name: str, check: Check, facts: Facts) -> list[Answer]:
    """What a check finds; what it found before it failed is not lost."""
    found: list[Answer] = []
    try:
        found.extend(check(facts))
    except Unlearnt as unlearnt:
        found.append(_unknown(name, facts, str(unlearnt)))
    except Exception as error:  # its words may hold what nobody may see
        found.append(_unknown(name, facts, f"it failed of itself ({type(error).__name__})"))
    return found or [_unknown(name, facts, "it gave no answer")]


def _unknown(name: str, facts: Facts, reason: str) -> Answer:
    sentence = (
        f"The check {name} of {facts.to.version} says nothing: {reason}. Look at this yourself before you go on."
    )
    return Answer("warn", sentence, "unknown")


def _told(sentence: str) -> str:
    """On one line, and not too long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in sentence).split())
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"
