"""What a change means and to whom: change rules in four tiers, each finding with its proof."""

from lastgood.dsl.rules.contract import refusal
from lastgood.dsl.rules.guide import guide
from lastgood.dsl.rules.judge import judge
from lastgood.dsl.rules.registry import RULES
from lastgood.dsl.rules.rule import SEVERITIES, Change, Rule, RuleSettings, Severity, Tier, Witness

__all__ = [
    "RULES",
    "SEVERITIES",
    "Change",
    "Rule",
    "RuleSettings",
    "Severity",
    "Tier",
    "Witness",
    "guide",
    "judge",
    "refusal",
]
