"""What a change means and to whom: change rules in four tiers, each finding with its proof."""

from lastgood.dsl.rules.contract import refusal
from lastgood.dsl.rules.guide import guide
from lastgood.dsl.rules.judge import PLAIN, judge
from lastgood.dsl.rules.registry import RULES
from lastgood.dsl.rules.rule import (
    SEVERITIES,
    TIERS,
    Change,
    Rule,
    RuleSettings,
    Severity,
    Tier,
    Witness,
    listed,
    quoted,
)

__all__ = [
    "PLAIN",
    "RULES",
    "SEVERITIES",
    "TIERS",
    "Change",
    "Rule",
    "RuleSettings",
    "Severity",
    "Tier",
    "Witness",
    "guide",
    "judge",
    "listed",
    "quoted",
    "refusal",
]
