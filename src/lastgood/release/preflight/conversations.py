"""Open conversations, and what the version to go to makes of the variables that they hold."""

from collections.abc import Iterator
from typing import Final

from lastgood.dsl.rules import listed, quoted
from lastgood.release.preflight.content import Content
from lastgood.release.preflight.facts import Answer, Conversations, Facts, in_service, known

_CHAT: Final = "advanced-chat"


def conversations(facts: Facts) -> Iterator[Answer]:
    """Variables that open conversations hold and that the version declares otherwise, or not at all."""
    to = facts.to.version
    content = known(facts.to.content)
    now = in_service(facts)
    if content.mode != _CHAT and (now is None or now.mode != _CHAT):
        yield Answer("pass", f"{facts.workflow} is no chatflow, so it has no conversations.")
        return
    if not facts.target.embedded:
        yield _elsewhere(facts, content, now)
        return
    held = known(facts.conversations)
    if not held.total:
        yield Answer("pass", f"No conversation of {facts.workflow} is open.")
        return
    problems = list(_held(to, content, held))
    yield from problems
    if not problems:
        late = [name for name in content.conversation if _holding(held, name) < held.total]
        begin = f"; {listed(late)} begins with its default in some of them" if late else ""
        yield Answer("pass", f"{to} takes the variables of all {held.total} open conversations{begin}.")


def _held(to: str, content: Content, held: Conversations) -> Iterator[Answer]:
    for (name, kind), count in sorted(held.holding.items()):
        wanted = content.conversation.get(name)
        of = f"{count} of {held.total} open conversations {'holds' if count == 1 else 'hold'} {quoted(name)}"
        if wanted is None:
            yield Answer(
                "warn",
                f"{of}, which {to} does not declare: it stays with them, unread, until a version declares it again.",
                f"{name}: {kind}",
            )
        elif wanted != kind:
            yield Answer(
                "warn",
                f"{of} as {kind}, and {to} declares it as {wanted}: a turn of these may fail or begin it anew. Try "
                "one before you go on, or tell their users.",
                f"{name}: {kind}",
            )


def _holding(held: Conversations, name: str) -> int:
    return sum(count for (one, _), count in held.holding.items() if one == name)


def _elsewhere(facts: Facts, content: Content, now: Content | None) -> Answer:
    to, target = facts.to.version, facts.target.name
    if now is None:
        return Answer("warn", f"{target} keeps its conversations to itself, so what {to} makes of them is not known.")
    names = sorted(content.conversation.keys() | now.conversation.keys())
    other = [name for name in names if content.conversation.get(name) != now.conversation.get(name)]
    if other:
        return Answer(
            "warn",
            f"The conversation variables of {to} and of what is in service differ: {listed(other)}. How many open "
            f"conversations hold them, only {target} knows; try one that is open.",
        )
    return Answer("pass", f"{to} declares the same conversation variables as what is in service.")
