"""The SemVer of a version at its publish: computed from what changed since the highest number, raised by people."""

from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.dsl import semver
from lastgood.dsl.compare import compare
from lastgood.dsl.rules import PLAIN, Change, RuleSettings, judge
from lastgood.dsl.semver import Bump
from lastgood.errors import NumberTooLow
from lastgood.history import versions
from lastgood.history.versions import Version


def changes_between(tx: Tx, old: Version, new: Version, rules: RuleSettings = PLAIN) -> tuple[Change, ...]:
    """What changed from `old` to `new`, by the change rules as `rules` raises them, breaking changes first. Raises
    `InvalidSetting`."""
    before, after = versions.document_of(tx, old), versions.document_of(tx, new)
    found = compare(before, after, secrets_changed=versions.secrets_changed(tx, old, new))
    return judge(before, after, found, rules)


def next_number(tx: Tx, version: Version, rules: RuleSettings = PLAIN) -> Bump:
    """The SemVer that the rules give `version`: its own if it has one, else the next after the highest number of its
    workflow. Raises `InvalidSetting`."""
    if version.semver is not None:
        return Bump(version.semver, "none", ("It has this number already.",))
    numbered = versions.numbered(tx, version.workflow_pk)
    if not numbered:
        return semver.next_version(None, ())
    highest = max(numbered, key=lambda one: semver.read_version(one.semver or ""))
    return semver.next_version(highest.semver, changes_between(tx, highest, version, rules))


def take(
    tx: Tx,
    version: Version,
    wanted: str | None,
    *,
    force: bool = False,
    reason: str = "",
    rules: RuleSettings = PLAIN,
) -> Bump:
    """The SemVer that `version` would get: `wanted` where a person may take it, else what the rules say. Raises
    `NumberTooLow`, `InvalidSetting`."""
    bump = next_number(tx, version, rules)
    if wanted is None:
        return bump
    if not semver.may_take(wanted, bump.version, force=force, reason=reason).allowed:
        raise NumberTooLow(wanted=wanted, computed=bump.version, because="; ".join(bump.because))
    return Bump(wanted, bump.kind, bump.because)


def number(
    tx: Tx,
    who: Principal,
    version: Version,
    wanted: str | None,
    *,
    force: bool = False,
    reason: str = "",
    rules: RuleSettings = PLAIN,
) -> Bump:
    """Give `version` its SemVer, and say which (see `take`).

    `rules` raises rules. Two versions that do the same do not both get a number. Raises `NumberTooLow`, `IdTaken`,
    `InvalidSetting`."""
    bump = take(tx, version, wanted, force=force, reason=reason, rules=rules)
    if wanted is not None or (version.semver is None and bump.kind != "none"):
        versions.set_semver(tx, who, version, bump.version)
    return bump
