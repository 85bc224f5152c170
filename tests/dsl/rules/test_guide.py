"""The documentation says what the rules say."""

from pathlib import Path

import pytest

from lastgood.dsl.rules import RULES, SEVERITIES, guide

from .test_behaviour import BEHAVIOUR, INTEGRATION, LAYOUT
from .test_callers import ALL

PAGE = Path(__file__).parents[3] / "docs" / "change-rules.md"
# Found in real histories or strangers only, or behind a setting of another kind of app.
ELSEWHERE = {"secret-value-changed"}


def test_the_page_is_written_from_the_rules() -> None:
    assert PAGE.read_text(encoding="utf-8") == guide()


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
def test_each_rule_explains_itself(rule: object) -> None:
    page = guide()
    for part in ("id", "sentence", "explanation", "example", "severity", "tier"):
        assert str(getattr(rule, part)).replace("|", "\\|") in page
    assert getattr(rule, "severity") in SEVERITIES  # noqa: B009
    assert all(getattr(rule, part).endswith(".") for part in ("sentence", "explanation"))


def test_each_rule_has_a_case() -> None:
    used = {rule for each in ALL + INTEGRATION + BEHAVIOUR + LAYOUT for rule in each.rules}
    assert RULES.keys() - used - ELSEWHERE == set()
