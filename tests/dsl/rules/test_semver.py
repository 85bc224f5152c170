"""Versions by SemVer 2.0.0, and the next one."""

import itertools

import pytest

from lastgood.dsl import Document
from lastgood.dsl.rules import RULES, Change, RuleSettings, judge
from lastgood.dsl.semver import may_take, next_version, read_version
from lastgood.errors import InvalidInput, InvalidSetting

from .small import field_of, gives, takes, with_node

BREAKING = judge(takes(), takes(field_of("a", required=True)))
ADDITIVE = judge(takes(), takes(field_of("a")))
MODEL = judge(with_node("llm", {"model": {"name": "a"}}), with_node("llm", {"model": {"name": "b"}}))
PROMPTS = with_node("llm", {"instruction": "a"}), with_node("llm", {"instruction": "b"})
PROMPT = judge(*PROMPTS)
TITLE = judge(with_node("code", {"title": "a"}), with_node("code", {"title": "b"}))
KINDS = {"breaking": BREAKING, "additive": ADDITIVE, "model": MODEL, "prompt": PROMPT, "title": TITLE, "nothing": ()}


@pytest.mark.parametrize(
    ("current", "changes", "version", "kind"),
    [
        (None, "nothing", "1.0.0", "first"),
        (None, "breaking", "1.0.0", "first"),
        ("1.2.3", "nothing", "1.2.3", "none"),
        ("1.2.3", "breaking", "2.0.0", "major"),
        ("1.2.3", "additive", "1.3.0", "minor"),
        ("1.2.3", "model", "1.3.0", "minor"),
        ("1.2.3", "prompt", "1.2.4", "patch"),
        ("1.2.3", "title", "1.2.4", "patch"),
        ("0.2.3", "breaking", "0.3.0", "major"),
        ("0.2.3", "additive", "0.2.4", "minor"),
        ("0.2.3", "prompt", "0.2.4", "patch"),
        ("0.0.0", "breaking", "0.1.0", "major"),
        ("1.2.3+42", "prompt", "1.2.4", "patch"),
        ("1.2.3+42", "nothing", "1.2.3+42", "none"),
        ("2.0.0-rc.1", "breaking", "2.0.0", "major"),
        ("2.0.0-rc.1", "prompt", "2.0.0", "patch"),
        ("1.3.0-rc.1", "additive", "1.3.0", "minor"),
        ("1.3.0-rc.1", "breaking", "2.0.0", "major"),
        ("1.3.1-rc.1", "prompt", "1.3.1", "patch"),
        ("1.3.1-rc.1", "additive", "1.4.0", "minor"),
        ("0.3.0-rc.1", "breaking", "0.3.0", "major"),
        ("0.3.1-rc.1", "breaking", "0.4.0", "major"),
        ("9.9.9", "breaking", "10.0.0", "major"),
        ("99999999999999999999.0.0", "breaking", "100000000000000000000.0.0", "major"),
    ],
)
def test_next(current: str | None, changes: str, version: str, kind: str) -> None:
    bump = next_version(current, KINDS[changes])
    assert (bump.version, bump.kind) == (version, kind)
    assert bump.because


def test_because_names_the_changes_that_count() -> None:
    changes = judge(takes(), takes(field_of("a", required=True), field_of("b")))
    bump = next_version("1.0.0", changes)
    assert bump.because == ("input-added-required: New input “a” (text-input) is required.",)


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.0", "v1.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0-a..b", "1.0.0+", "1.0.0 ", "1.0.0\n", "-1.0.0",
     "1.0.0-é", "١.0.0", "1.0.0+a_b", "1.0." + "1" * 64],
)  # fmt: skip
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a SemVer"):
        read_version(text)
    with pytest.raises(InvalidInput):
        next_version(text, BREAKING)
    with pytest.raises(InvalidInput):
        may_take(text, "1.0.0")


def test_order_of_the_specification() -> None:
    rising = [
        *("1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"),
        *("1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0-0"),
    ]
    for low, high in itertools.combinations(map(read_version, rising), 2):
        assert low < high
        assert low != high
    assert read_version("1.0.0+a") == read_version("1.0.0+b")
    assert [str(read_version(text)) for text in (*rising, "1.0.0-a.1+b.2")] == [*rising, "1.0.0-a.1+b.2"]


@pytest.mark.parametrize(
    ("wanted", "computed", "force", "reason", "allowed"),
    [
        ("2.0.0", "2.0.0", False, "", True),
        ("3.0.0", "2.0.0", False, "", True),
        ("2.0.1", "2.0.0", False, "", True),
        ("2.0.0-rc.1", "2.0.0", False, "", True),
        ("2.0.0+42", "2.0.0", False, "", True),
        ("1.9.0", "2.0.0", False, "", False),
        ("1.9.0", "2.0.0", True, "", False),
        ("1.9.0", "2.0.0", True, "  ", False),
        ("1.9.0", "2.0.0", False, "no caller has it", False),
        ("1.9.0", "2.0.0", True, "no caller has it", True),
    ],
)
def test_what_a_person_may_take(wanted: str, computed: str, force: bool, reason: str, allowed: bool) -> None:
    take = may_take(wanted, computed, force=force, reason=reason)
    assert take.allowed is allowed
    assert (wanted in take.reason and computed in take.reason) or take.reason == ""


def test_a_raised_rule_raises_the_version() -> None:
    old, new = gives(("a", "c", "text")), gives(("a", "m", "text"))
    assert next_version("1.0.0", judge(old, new)).version == "1.1.0"
    raised = RuleSettings({"output-source-changed": "breaking"})
    changes: tuple[Change, ...] = judge(old, new, settings=raised)
    assert next_version("1.0.0", changes).version == "2.0.0"


@pytest.mark.parametrize(
    ("changes", "raised", "version"),
    [
        (PROMPTS, {"prompt-changed": "INTEGRATION"}, "1.1.0"),
        (PROMPTS, {"prompt-changed": "CALLER"}, "1.1.0"),
        (PROMPTS, {"prompt-changed": "breaking"}, "2.0.0"),
        (PROMPTS, {"prompt-changed": "warning"}, "1.0.1"),
        (PROMPTS, {"prompt-changed": "BEHAVIOUR"}, "1.0.1"),
        (PROMPTS, {"model-changed": "breaking"}, "1.0.1"),
    ],
)
def test_what_a_rule_may_be_raised_to(
    changes: tuple[Document, Document], raised: dict[str, str], version: str
) -> None:
    assert next_version("1.0.0", judge(*changes, settings=RuleSettings(raised))).version == version


def test_a_raised_tier_is_told_and_the_rule_stays_as_it_is() -> None:
    (change,) = judge(*PROMPTS, settings=RuleSettings({"prompt-changed": "INTEGRATION"}))
    assert change.rule.tier == "INTEGRATION"
    assert RULES["prompt-changed"].tier == "BEHAVIOUR"


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        ({"no-such-rule": "breaking"}, "rules.no-such-rule .* no change rule"),
        ({"output-removed": "info"}, "rules.output-removed .* is breaking, .* can only raise"),
        ({"output-added": "LAYOUT"}, "rules.output-added .* is CALLER, .* can only raise"),
        ({"output-added": "fatal"}, "raised to a severity"),
    ],
)
def test_settings_that_make_no_sense(raised: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidSetting, match=reason):
        judge(takes(), takes(), settings=RuleSettings(raised))
