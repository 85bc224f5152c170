"""What a change rule is, what it finds, and how its severity is set."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from lastgood.dsl.keys import known
from lastgood.errors import InvalidSetting

type Tier = Literal["CALLER", "INTEGRATION", "BEHAVIOUR", "LAYOUT"]
type Severity = Literal["info", "warning", "breaking"]

SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "breaking")
TIERS: Final[tuple[Tier, ...]] = ("LAYOUT", "BEHAVIOUR", "INTEGRATION", "CALLER")
"""The least weighty first, as `SEVERITIES` are."""
_LONGEST: Final = 60


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of change. `sentence` says in general what happened, `explanation` what comes of it for whom, `example`
    shows it. `severity` is ``breaking`` where callers that did nothing wrong fail, ``warning`` where some may be
    surprised."""

    id: str
    tier: Tier
    severity: Severity
    sentence: str
    explanation: str
    example: str


@dataclass(frozen=True, slots=True)
class Witness:
    """A proof that a change breaks callers: a `request` that the old version accepts and the new one refuses
    (``call`` is a method and a path; ``body`` is what is sent with it), or an `output` that is gone from, or another
    in, what a run gives."""

    request: Mapping[str, Any] | None = None
    output: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One change that a rule found. `sentence` names what changed with its values, `path` where it is: in the new
    document, or in the old one for what is gone; `node` and `title` are those of the node, ``""`` where none is
    concerned. No sentence holds a secret value."""

    rule: Rule
    sentence: str
    path: str = ""
    node: str = ""
    title: str = ""
    severity: Severity = "info"
    witness: Witness | None = None

    @property
    def breaking(self) -> bool:
        """Whether callers must change what they do."""
        return self.severity == "breaking"


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """`raised` raises rules, by id, to a severity or to a tier. A team that takes another model for a break says
    ``{"model-changed": "breaking"}``; one that gives a new prompt a minor version says ``{"prompt-changed":
    "INTEGRATION"}``. No rule can be made lighter than it is; `settle` refuses that."""

    raised: Mapping[str, str] = field(default_factory=dict)

    def settle(self, rules: Mapping[str, Rule]) -> None:
        """Raises `InvalidSetting` for a rule that does not exist, for what is neither a severity nor a tier, and for
        a rule made lighter."""
        for name, level in self.raised.items():
            if name not in rules:
                raise InvalidSetting(name=f"rules.{name}", value=level, reason="there is no change rule of that name")
            present = rules[name].severity if level in SEVERITIES else rules[name].tier
            scale: tuple[str, ...] = SEVERITIES if level in SEVERITIES else TIERS
            if level not in scale:
                reason = f"a rule is raised to a severity ({', '.join(SEVERITIES)}) or a tier ({', '.join(TIERS)})"
                raise InvalidSetting(name=f"rules.{name}", value=level, reason=reason)
            if scale.index(level) < scale.index(present):
                reason = f"the rule is {present}, and a setting can only raise it"
                raise InvalidSetting(name=f"rules.{name}", value=level, reason=reason)

    def severity(self, rule: Rule, found: Severity) -> Severity:
        """What a change that `rule` found with the severity `found` weighs."""
        wanted = self.raised.get(rule.id)
        return max((found, *(one for one in SEVERITIES if one == wanted)), key=SEVERITIES.index)

    def rule(self, rule: Rule) -> Rule:
        """`rule` in the tier that it is raised to."""
        wanted = self.raised.get(rule.id)
        tier = max((rule.tier, *(one for one in TIERS if one == wanted)), key=TIERS.index)
        return rule if tier == rule.tier else replace(rule, tier=tier)


def table(tier: Tier, *rows: tuple[str, Severity, str, str, str]) -> dict[str, Rule]:
    """Rules by id, out of rows of (id, severity, sentence, explanation, example)."""
    return {row[0]: Rule(row[0], tier, *row[1:]) for row in rows}


def quoted(name: Any) -> str:
    """A name or a text within a sentence: on one line, not too long, and never what is surely a key."""
    words = " ".join(str(name).split())
    if known(words):
        return "“(hidden)”"
    return f"“{words if len(words) <= _LONGEST else words[: _LONGEST - 1] + '…'}”"


def shown(value: Any) -> str:
    """A value within a sentence: numbers and the like plainly, texts quoted, of larger things their size."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None or value == "":
        return "nothing"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return f"{len(value)} settings" if isinstance(value, dict) else quoted(value)


def listed(names: Iterable[Any], most: int = 4) -> str:
    """Some names in a sentence, quoted."""
    all_ = [quoted(name) for name in names]
    more = f" and {len(all_) - most} more" if len(all_) > most else ""
    return ", ".join(all_[:most]) + more
