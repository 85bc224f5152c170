"""SemVer 2.0.0: reading versions, the next one computed from what changed, and what a person may take instead."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import total_ordering
from typing import Any, Final, Literal

from lastgood.dsl.rules import Change
from lastgood.errors import InvalidInput

type Kind = Literal["first", "major", "minor", "patch", "none"]

FIRST: Final = "1.0.0"
_NUMBER: Final = r"0|[1-9][0-9]*"
_TAG: Final = rf"(?:{_NUMBER}|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_VERSION: Final = re.compile(
    rf"(?P<major>{_NUMBER})\.(?P<minor>{_NUMBER})\.(?P<patch>{_NUMBER})"
    rf"(?:-(?P<pre>{_TAG}(?:\.{_TAG})*))?(?:\+(?P<build>[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?",
    re.ASCII,
)
_LONGEST: Final = 64
_KINDS: Final[tuple[Kind, ...]] = ("major", "minor", "patch")


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class SemVer:
    """A version; it compares by precedence, in which the build does not count."""

    major: int
    minor: int
    patch: int
    pre: tuple[str, ...] = ()
    build: str = ""

    def __str__(self) -> str:
        core = f"{self.major}.{self.minor}.{self.patch}"
        return core + (f"-{'.'.join(self.pre)}" if self.pre else "") + (f"+{self.build}" if self.build else "")

    @property
    def core(self) -> "SemVer":
        """The version without its pre-release and build tags."""
        return SemVer(self.major, self.minor, self.patch)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SemVer) and self._order() == other._order()

    def __lt__(self, other: "SemVer") -> bool:
        return self._order() < other._order()

    def __hash__(self) -> int:
        return hash(self._order())

    def _order(self) -> tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]:
        """Releases come after their pre-releases; in these numbers come before words."""
        tags = ((False, int(tag), "") if tag.isdigit() else (True, 0, tag) for tag in self.pre)
        return self.major, self.minor, self.patch, not self.pre, tuple(tags)


@dataclass(frozen=True, slots=True)
class Bump:
    """The next version, of which `kind` it is, and because of what: a sentence each, the weightiest first."""

    version: str
    kind: Kind
    because: tuple[str, ...]

    def public(self) -> dict[str, Any]:
        """Its JSON form."""
        return {"version": self.version, "kind": self.kind, "because": list(self.because)}


@dataclass(frozen=True, slots=True)
class Take:
    """Whether a wanted version may be taken, and if not, why."""

    allowed: bool
    reason: str


def read_version(text: str) -> SemVer:
    """The version that `text` is. Raises `InvalidInput` for what is none (`v1.0`, `1.0`, `01.0.0`, …) or is longer
    than 64 characters."""
    found = _VERSION.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
        raise InvalidInput(
            detail=f"{shown!r} is not a SemVer: write three numbers such as 1.4.0, if need be with a pre-release "
            f"(1.4.0-rc.1) and a build (1.4.0+42), in at most {_LONGEST} characters."
        )
    pre = tuple(found["pre"].split(".")) if found["pre"] else ()
    return SemVer(int(found["major"]), int(found["minor"]), int(found["patch"]), pre, found["build"] or "")


def next_version(current: str | None, changes: Sequence[Change]) -> Bump:
    """The version after `current` (None: there is none yet) when `changes`, as `judge` gives them with its settings,
    came since then.

    Breaking for callers: major, below 1.0 the minor. What else callers or the workspace notice: minor, below 1.0 the
    patch. Behaviour and layout: patch. Nothing: the same version. A pre-release becomes its release where that is
    far enough (1.1.0-rc.1 and a minor change: 1.1.0), and build tags are dropped. Raises `InvalidInput`."""
    if current is None:
        return Bump(FIRST, "first", ("It is the first version of this workflow.",))
    base = read_version(current)
    kinds = {_kind(change) for change in changes}
    kind: Kind = next((kind for kind in _KINDS if kind in kinds), "none")
    if kind == "none":
        return Bump(current, kind, ("Nothing changed.",))
    return Bump(str(_bumped(base, kind)), kind, _because(changes, kind))


def may_take(wanted: str, computed: str, *, force: bool = False, reason: str = "") -> Take:
    """Whether a person may give `wanted` where the rules computed `computed`: a higher or an equal one always, a
    lower one with force and a reason. A pre-release of the computed version is no lower promise. Raises
    `InvalidInput` for what is no SemVer."""
    mine, theirs = read_version(wanted), read_version(computed)
    if mine.core >= theirs.core:
        return Take(True, "")
    if force and reason.strip():
        return Take(True, f"{wanted} is lower than {computed}, forced: {reason.strip()}")
    missing = "with a reason" if force else "with force and a reason"
    return Take(False, f"{wanted} is lower than {computed}, which the changes call for; take it only {missing}.")


def _kind(change: Change) -> Kind:
    if change.breaking:
        return "major"
    return "minor" if change.rule.tier in ("CALLER", "INTEGRATION") else "patch"


def _bumped(base: SemVer, kind: Kind) -> SemVer:
    """The next version. Below 1.0 each part stands for the one before it."""
    core = base.core
    if core.major == 0:
        kind = "minor" if kind == "major" else "patch"
    reached = {"major": not core.minor and not core.patch, "minor": not core.patch, "patch": True}
    if base.pre and reached[kind]:
        return core
    if kind == "major":
        return SemVer(core.major + 1, 0, 0)
    return SemVer(core.major, core.minor + 1, 0) if kind == "minor" else replace(core, patch=core.patch + 1)


def _because(changes: Sequence[Change], kind: Kind) -> tuple[str, ...]:
    """The sentences of the changes that call for this kind, each once."""
    return tuple(dict.fromkeys(f"{change.rule.id}: {change.sentence}" for change in changes if _kind(change) == kind))
