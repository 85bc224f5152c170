"""A plan: what a rollback or publish would do, what stands against it, and what it leaves as it is. A value; its
digest says whether what is done is what was seen."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal, Self, get_args

from lastgood import dsl

Kind = Literal["publish", "rollback", "rehearsal", "heal", "converge", "adopt"]
Verdict = Literal["pass", "warn", "refuse"]
OnFailure = Literal["undo", "keep", "ask"]
Positions = Literal["keep", "reset"]
WRITING = ("publish", "restore", "database")
"""The ways that write on Dify, step by step; `route` only moves our own pointer."""
OURS_AGAIN: Final = frozenset({"heal", "converge"})
"""The kinds that give an app what its channel says."""
# What is found of a plan rather than what it would do.
_FOUND: Final = ("findings", "services", "not_rolled_back", "break_glass")
_FOUND_OF_MOVE: Final = ("why", "evidence")
_WORST: dict[Verdict, int] = {"pass": 0, "warn": 1, "refuse": 2}

NOT_ROLLED_BACK = (
    "knowledge bases and the documents in them",
    "plugins and models installed on the target",
    "API keys",
    "site settings of the web app",
    "webhook URLs of triggers",
    "tool bindings (workflows published as tools)",
    "conversations and what users said in them",
    "data already written to databases and other services",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer of the preflight: which check, what it is about, and a sentence for people."""

    check: str
    verdict: Verdict
    sentence: str
    subject: str = ""


@dataclass(frozen=True, slots=True)
class PlannedMove:
    """One channel's part: the version ids from (None: it points nowhere yet) and to, and the generation it must be
    at. `why` says why that version, `evidence` what proves it (JSON values).

    On a Dify app `way` is how its pointer is moved (else empty), and `adopts` the version that it serves though the
    channel points elsewhere: then the channel first moves there, and `from_version` is that."""

    workflow_id: str
    workflow: str
    channel: str
    from_version: str | None
    to_version: str
    expected_generation: int
    why: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    way: str = ""
    adopts: str | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is affected, with the module people know, the risk and its reason, and who answers for it."""

    name: str
    module: str
    risk: str
    reason: str
    responsible: str


@dataclass(frozen=True, slots=True)
class Plan:
    """All that an operation needs. Names of hooks, listeners, data checks and verification items are those of
    `lastgood.toml`; `verification` empty means every item that applies, None for `listeners` and `data_checks` those
    that are declared for the workflows."""

    kind: Kind
    moves: tuple[PlannedMove, ...]
    reason: str = ""
    force: bool = False
    semver: str | None = None
    findings: tuple[Finding, ...] = ()
    services: tuple[Service, ...] = ()
    data_consistency_check: bool = True
    pre_rollback_hook: str = ""
    post_rollback_hook: str = ""
    listeners: tuple[str, ...] | None = None
    data_checks: tuple[str, ...] | None = None
    verify: bool = True
    verification: tuple[str, ...] = ()
    on_verification_failure: OnFailure = "keep"
    consumer_positions: Positions = "keep"
    conditions: tuple[str, ...] = ()
    responsible: str = ""
    # The channel that a published version was promoted from; empty for any other publish.
    promoted_from: str = ""
    # Whether approval and freezes of protected channels are passed, for its reason; that pages.
    break_glass: bool = False
    not_rolled_back: tuple[str, ...] = NOT_ROLLED_BACK

    def as_data(self) -> dict[str, Any]:
        """The plan as JSON values; `of_data` gives it back."""
        return asdict(self)

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Self:
        """The plan that `as_data` wrote; fields that a newer release added are passed over, missing ones have their
        defaults. Raises `ValueError`, `TypeError` or `KeyError` for what is no plan."""
        if data["kind"] not in get_args(Kind):
            raise ValueError(data["kind"])
        known = {name: value for name, value in data.items() if name in cls.__dataclass_fields__}
        for name in ("verification", "conditions", "not_rolled_back", "listeners", "data_checks"):
            if known.get(name) is not None:
                known[name] = tuple(known[name])
        known["moves"] = tuple(_known(PlannedMove, one) for one in data["moves"])
        known["findings"] = tuple(_known(Finding, one) for one in data.get("findings", ()))
        known["services"] = tuple(_known(Service, one) for one in data.get("services", ()))
        return cls(**known)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over everything that the plan says."""
        return hashlib.sha256(dsl.canonical(self.as_data())).hexdigest()

    @property
    def intent(self) -> str:
        """SHA-256 (hex) over what it would do, whatever is found of that meanwhile: what an approval is bound to."""
        data = {name: value for name, value in self.as_data().items() if name not in _FOUND}
        moves = [{name: one[name] for name in one if name not in _FOUND_OF_MOVE} for one in data["moves"]]
        return hashlib.sha256(dsl.canonical({**data, "moves": moves})).hexdigest()

    @property
    def writes(self) -> bool:
        """Whether it moves the pointer of a Dify app by writing there."""
        return any(one.way in WRITING for one in self.moves)

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of its findings."""
        return worst(self.findings)

    def refusals(self) -> tuple[Finding, ...]:
        """The findings that refuse it."""
        return tuple(one for one in self.findings if one.verdict == "refuse")

    def with_findings(self, findings: Iterable[Finding]) -> "Plan":
        """The same plan after the preflight looked again."""
        return replace(self, findings=tuple(findings))


def worst(findings: Iterable[Finding]) -> Verdict:
    """The worst verdict among `findings`, ``pass`` for none."""
    return max((one.verdict for one in findings), key=_WORST.__getitem__, default="pass")


def news(before: Iterable[Finding], now: Iterable[Finding]) -> list[Finding]:
    """What warns or refuses now and was not seen `before`: what makes a confirmation void."""
    seen = {(one.check, one.subject, one.verdict) for one in before}
    return [one for one in now if one.verdict != "pass" and (one.check, one.subject, one.verdict) not in seen]


def _known[T](kind: type[T], data: Mapping[str, Any]) -> T:
    fields: Mapping[str, Any] = kind.__dataclass_fields__  # type: ignore[attr-defined]  # every `kind` is a dataclass
    return kind(**{name: value for name, value in data.items() if name in fields})
