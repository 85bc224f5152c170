"""Two documents → what their difference means."""

from typing import Final

from lastgood.dsl.compare import Difference, compare
from lastgood.dsl.document import Document
from lastgood.dsl.rules.beside import Beside
from lastgood.dsl.rules.canvas import judge_canvas
from lastgood.dsl.rules.case import Case
from lastgood.dsl.rules.features import judge_features, judge_mode
from lastgood.dsl.rules.gather import Atom, Gather
from lastgood.dsl.rules.inputs import judge_inputs
from lastgood.dsl.rules.needs import judge_needs
from lastgood.dsl.rules.nodes import Nodes
from lastgood.dsl.rules.outputs import judge_outputs, judge_streaming
from lastgood.dsl.rules.registry import RULES
from lastgood.dsl.rules.rule import SEVERITIES, TIERS, Change, RuleSettings
from lastgood.dsl.rules.webhooks import judge_webhooks

PLAIN: Final = RuleSettings()


def judge(
    old: Document, new: Document, difference: Difference | None = None, settings: RuleSettings = PLAIN
) -> tuple[Change, ...]:
    """What the difference between two documents means, and to whom: breaking changes first, then by tier.

    `difference` is `compare(old, new)` if it is there already; it also brings the names of secrets whose values
    changed. `settings` raises rules. Raises `InvalidSetting` for one that names no rule or makes one lighter."""
    settings.settle(RULES)
    case, _ = examined(old, new, compare(old, new) if difference is None else difference, settings)
    return tuple(
        sorted(case.told, key=lambda change: (-SEVERITIES.index(change.severity), -TIERS.index(change.rule.tier)))
    )


def examined(
    old: Document, new: Document, difference: Difference, settings: RuleSettings = PLAIN
) -> tuple[Case, list[tuple[Atom, str]]]:
    """The case with all that was told, and each value of the difference with the id of the rule it fell under."""
    case = Case(old, new, difference, settings)
    if difference:
        for look in (judge_mode, judge_inputs, judge_outputs, judge_streaming, judge_features, judge_webhooks):
            look(case)
        judge_needs(case)
    gather = Gather(case)
    Nodes(gather).judge()
    Beside(gather).judge()
    gather.flush()
    judge_canvas(case)
    return case, gather.assigned
