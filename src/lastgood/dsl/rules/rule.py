"""What a change rule is, what it finds, and how its severity is set."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from lastgood.dsl.lint.clear import known
from lastgood.errors import InvalidSetting

type Tier = Literal["CALLER", "INTEGRATION", "BEHAVIOUR", "LAYOUT"]
type Severity = Literal["info", "warning", "breaking"]

SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "breaking")
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
    """`severities` raises rules, by id: a team that takes another model for a break says ``{"model-changed":
    "breaking"}``. No rule can be made lighter than it is; `settle` refuses that."""

    severities: Mapping[str, Severity] = field(default_factory=dict)

    def settle(self, rules: Mapping[str, Rule]) -> None:
        """Raises `InvalidSetting` for a rule that does not exist, a severity that does not, or a lowered one."""
        for name, severity in self.severities.items():
            if name not in rules:
                raise InvalidSetting(name="severities", value=name, reason="there is no change rule of that name")
            if severity not in SEVERITIES:
                reason = f"a severity is one of {', '.join(SEVERITIES)}"
                raise InvalidSetting(name=f"severities.{name}", value=severity, reason=reason)
            if SEVERITIES.index(severity) < SEVERITIES.index(rules[name].severity):
                reason = f"the rule is {rules[name].severity}, and a setting can only raise it"
                raise InvalidSetting(name=f"severities.{name}", value=severity, reason=reason)

    def raised(self, rule: Rule, severity: Severity) -> Severity:
        """What a change that `rule` found with `severity` weighs."""
        return max(severity, self.severities.get(rule.id, severity), key=SEVERITIES.index)


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
