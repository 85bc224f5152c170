"""What the version needs on its target: plugins at their versions, models, knowledge bases, tools."""

from collections.abc import Iterator, Mapping
from typing import Final

from lastgood.dsl.rules import listed
from lastgood.release.preflight.facts import Answer, Facts, in_service, known

_MOST: Final = 6
WORDS: Final = {
    "plugins": ("plugin", "plugins"),
    "models": ("model", "models"),
    "knowledge_bases": ("knowledge base", "knowledge bases"),
    "tools": ("tool", "tools"),
}

type Names = Mapping[str, tuple[str, ...]]


def plugins(facts: Facts) -> Iterator[Answer]:
    """Plugins, and the versions of them that the version names."""
    yield from _present(facts, "plugins")
    now = in_service(facts)
    if "plugins" in facts.target.inventory.without or facts.now is None or now is None:
        return
    wanted, running = known(facts.to.content).needs["plugins"], now.needs["plugins"]
    other = {name: (old, running[name]) for name, old in wanted.items() if name in running and old != running[name]}
    told = [f"{n} {_all(old)} (in service: {_all(new)})" for n, (old, new) in sorted(other.items()) if old and new]
    if told:
        yield Answer(
            "warn",
            f"{facts.to.version} names other versions of plugins than {facts.now.version}: {listed(told, _MOST)}. "
            f"What is installed on {facts.target.name} stays installed; look whether it serves both.",
            "versions",
        )


def models(facts: Facts) -> Iterator[Answer]:
    """Language and other models."""
    yield from _present(facts, "models")


def knowledge_bases(facts: Facts) -> Iterator[Answer]:
    """Knowledge bases, by their ids."""
    yield from _present(facts, "knowledge_bases")


def tools(facts: Facts) -> Iterator[Answer]:
    """Tools of plugins, of APIs and of MCP servers (workflows as tools are another check)."""
    yield from _present(facts, "tools")


def _present(facts: Facts, kind: str) -> Iterator[Answer]:
    """What is known of a target is held against; else what the version in service needs too must be there."""
    wanted: Names = known(facts.to.content).needs[kind]
    one, many = WORDS[kind]
    to, target = facts.to.version, facts.target.name
    if not wanted:
        yield Answer("pass", f"{to} needs no {many}.")
        return
    inventory = facts.target.inventory
    if kind in inventory.without:
        yield Answer("pass", f"{to} needs {_count(len(wanted), one, many)}; {inventory.without[kind]}.")
        return
    if kind in inventory.has:
        missing = sorted(wanted.keys() - inventory.has[kind])
        if missing:
            yield Answer(
                "refuse",
                f"{target} does not have the {many if len(missing) > 1 else one} {listed(missing, _MOST)} that {to} "
                "needs. Add it there, or go to another version.",
            )
        else:
            yield Answer("pass", f"{target} has {_count(len(wanted), one, many)} that {to} needs.")
        return
    now, running = facts.now, in_service(facts)
    if now is None or running is None:
        yield Answer(
            "warn",
            f"What {target} has is not known, and {to} needs the {many if len(wanted) > 1 else one} "
            f"{listed(sorted(wanted), _MOST)}. Look for them there.",
        )
        return
    alone = sorted(wanted.keys() - running.needs[kind].keys())
    if alone:
        yield Answer(
            "warn",
            f"{to} needs the {many if len(alone) > 1 else one} {listed(alone, _MOST)}, and {now.version}, which is "
            f"in service, does not: look whether {target} still has {'them' if len(alone) > 1 else 'it'}.",
        )
    else:
        yield Answer("pass", f"{now.version}, which is in service, needs every {one} of {to} too.")


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _all(versions: tuple[str, ...]) -> str:
    return " and ".join(versions)
