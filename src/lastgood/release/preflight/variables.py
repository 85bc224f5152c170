"""Secrets and environment variables of the version: there, with a value, and the same as in service? Names only."""

from collections.abc import Iterator
from typing import Final

from lastgood.dsl.rules import listed
from lastgood.release.preflight.facts import Answer, Facts, in_service, known

_MOST: Final = 8


def secrets(facts: Facts) -> Iterator[Answer]:
    """Secret variables without a value, and those whose value changed since."""
    to = facts.to
    content = known(to.content)
    lacking = sorted(content.secrets.keys() - to.held)
    read = [name for name in lacking if content.secrets[name]]
    for name in lacking:
        yield _lacking(facts, name, name in read)
    changed = facts.secrets_changed & content.secrets.keys() & to.held
    if facts.now is not None and changed:
        running = facts.now.held
        other, alone = sorted(changed & running), sorted(changed - running)
        if other:
            yield Answer(
                "warn",
                f"The secret {listed(other, _MOST)} changed since {to.version}, and its older value comes back: "
                "where it was rotated, push the version again with the new one.",
                "changed",
            )
        if alone:
            yield Answer(
                "warn",
                f"{facts.now.version} holds no value of the secret {listed(alone, _MOST)}, and {to.version} brings "
                "its own back: look whether it is still good.",
                "only there",
            )
    gone = sorted(facts.secrets_changed - content.secrets.keys())
    if gone:
        yield Answer("pass", f"The secret {listed(gone, _MOST)} came later; {to.version} does without.", "later")
    if not lacking and not changed:
        same = ", the same as in service" if facts.now is not None else ""
        has = f"a value of each of its secrets{same}" if content.secrets else "no secrets"
        yield Answer("pass", f"{to.version} has {has}.")


def _lacking(facts: Facts, name: str, read: bool) -> Answer:
    to, target = facts.to.version, facts.target
    said = f"The secret {listed([name])} of {to} has no value here"
    if not read:
        return Answer("warn", f"{said}, and no node that a run reaches reads it.", name)
    if not target.embedded:
        return Answer(
            "warn", f"{said}: what runs is what {target.name} keeps of it. Look there that it is set.", name
        )
    return Answer("refuse", f"{said}, and nodes read it. Push the version's document again with the value.", name)


def environment(facts: Facts) -> Iterator[Answer]:
    """Environment variables that nodes read and that are not there, and those that changed since."""
    to = facts.to.version
    content = known(facts.to.content)
    if content.undeclared:
        yield Answer(
            "warn",
            f"Nodes of {to} read the environment variable {listed(content.undeclared, _MOST)}, which {to} does not "
            "have. Add it in a new version, or go to another one.",
            "missing",
        )
    now = in_service(facts)
    if facts.now is None or now is None:
        if not content.undeclared:
            yield Answer("pass", f"{to} has every environment variable that its nodes read.")
        return
    before, after = now.environment, content.environment
    changed = sorted(name for name in before.keys() & after.keys() if before[name] != after[name])
    gone, back = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
    told = [
        f"{what} {listed(names, _MOST)}"
        for what, names in (("changed:", changed), ("only in service:", gone), (f"only in {to}:", back))
        if names
    ]
    if told:
        yield Answer(
            "warn",
            f"Environment variables differ between {facts.now.version}, which is in service, and {to}; "
            f"{'; '.join(told)}. Look whether the older values are still good.",
            "changed",
        )
    elif not content.undeclared:
        same = "the same environment variables as" if after else "no environment variables, like"
        yield Answer("pass", f"{to} has {same} {facts.now.version}.")
