"""Plans as values, as JSON and as files."""

from dataclasses import fields, replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lastgood.errors import InvalidPlan
from lastgood.release import planfile
from lastgood.release.plan import NOT_ROLLED_BACK, Finding, Plan, PlannedMove, Service, news, worst

MOVE = PlannedMove(
    "wf-abc123", "prod-invoice", "live", "v-20240401-02", "v-20240401-01", 3, "last good", {"requests": 7}
)
PLAN = Plan(
    "rollback",
    (MOVE,),
    reason="wrong totals",
    findings=(Finding("state", "warn", "v-20240401-01 is not proven."),),
    services=(Service("order-api", "orders", "high", "it calls this", "alice"),),
    pre_rollback_hook="backup",
    listeners=("web",),
    conditions=("HTTP 5xx over 5 %",),
    responsible="alice",
)

THE_BRIEFS = """version: 1.2
rollback_plan:
  impact_analysis:
    services_affected: [auth-service, order-api]
    data_consistency_check: true
  pre_rollback_hook: /bin/run-backup.sh
"""

_texts = st.text(max_size=30)
_moves = st.builds(
    PlannedMove,
    workflow_id=st.just("wf-abc123"),
    workflow=st.from_regex(r"[a-z]{1,8}", fullmatch=True),
    channel=st.just("live"),
    from_version=st.none() | _texts,
    to_version=_texts.filter(bool),
    expected_generation=st.integers(0, 2**40),
    why=_texts,
    evidence=st.dictionaries(st.text(max_size=5), st.integers(-(2**40), 2**40) | st.none() | _texts, max_size=3),
)
_plans = st.builds(
    Plan,
    kind=st.sampled_from(["rollback", "publish"]),
    moves=st.lists(_moves, min_size=1, max_size=3).map(tuple),
    reason=_texts,
    force=st.booleans(),
    semver=st.none(),
    findings=st.lists(
        st.builds(Finding, _texts, st.sampled_from(["pass", "warn", "refuse"]), _texts, _texts), max_size=3
    ).map(tuple),
    services=st.lists(st.builds(Service, _texts, _texts, _texts, _texts, _texts), max_size=2).map(tuple),
    data_consistency_check=st.booleans(),
    pre_rollback_hook=_texts,
    post_rollback_hook=_texts,
    listeners=st.none() | st.lists(_texts, max_size=2).map(tuple),
    data_checks=st.none() | st.lists(_texts, max_size=2).map(tuple),
    verify=st.booleans(),
    verification=st.lists(_texts, max_size=2).map(tuple),
    on_verification_failure=st.sampled_from(["undo", "keep", "ask"]),
    consumer_positions=st.sampled_from(["keep", "reset"]),
    conditions=st.lists(_texts, max_size=2).map(tuple),
    responsible=_texts,
    not_rolled_back=st.lists(_texts, max_size=2).map(tuple),
)


@given(_plans)
def test_a_plan_survives_json_and_its_file(plan: Plan) -> None:
    assert Plan.of_data(plan.as_data()) == plan
    read = planfile.read(planfile.write(plan))
    assert read.plan == plan and read.plan.digest == plan.digest
    assert read.complete and read.policy and read.named


@pytest.mark.parametrize("name", [one.name for one in fields(Plan)])
def test_everything_that_a_plan_says_is_in_its_digest(name: str) -> None:
    value = getattr(PLAN, name)
    other = {
        "kind": "publish",
        "moves": (replace(MOVE, expected_generation=4),),
        "findings": (),
        "services": (),
        "listeners": None,
        "data_checks": ("orders",),
        "semver": "9.0.0",
        "on_verification_failure": "undo",
        "consumer_positions": "reset",
    }.get(name, (not value) if isinstance(value, bool) else ("other",) if isinstance(value, tuple) else "other")
    assert other != value
    changed: Any = {name: other}
    assert replace(PLAN, **changed).digest != PLAN.digest


def test_the_briefs_own_file_is_read() -> None:
    read = planfile.read(THE_BRIEFS)
    assert read.plan.pre_rollback_hook == "/bin/run-backup.sh"
    assert read.plan.data_consistency_check
    assert not read.complete and not read.named and not read.policy


def test_a_written_file_keeps_the_briefs_shape() -> None:
    data = yaml.safe_load(planfile.write(PLAN))
    assert data["version"] == 1.2
    body = data["rollback_plan"]
    assert body["impact_analysis"]["services_affected"] == ["order-api"]
    assert body["impact_analysis"]["data_consistency_check"] is True
    assert body["pre_rollback_hook"] == "backup"
    wanted = {"workflow", "channel", "from", "to", "expected_generation", "findings", "not_rolled_back", "listeners"}
    wanted |= {"data_checks", "verification", "post_rollback_hook", "on_verification_failure", "conditions"}
    assert wanted | {"responsible", "consumer_positions"} <= body.keys()
    assert body["not_rolled_back"] == list(NOT_ROLLED_BACK)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "line 2"),
        ("[]", "the file"),
        ("", "the file"),
        ("version: 1.2\n", "rollback_plan: it is missing"),
        ("rollback_plan: {}\n", "version: it is missing"),
        ("version: 3\nrollback_plan: {}\n", "version 3"),
        ("version: 1.2\nrollback_plan: {wrkflow: a}\n", "rollback_plan.wrkflow: no such field"),
        ("version: 1.2\nrollback_plan: {on_verification_failure: explode}\n", "on_verification_failure"),
        ("version: 1.2\nrollback_plan: {expected_generation: many}\n", "expected_generation"),
        ("version: 1.2\nrollback_plan: {workflow: a, moves: [{workflow: b}]}\n", "either one workflow or several"),
        ("version: 1.2\nrollback_plan: {pre_rollback_hook: [a, b]}\n", "pre_rollback_hook"),
        ("!!python/object/apply:os.system ['true']\n", "line 1"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nversion: 1.2\nrollback_plan: *b\n", "rollback_plan"),
        ("x" * (2**20 + 1), "the file"),
    ],
)
def test_a_file_that_makes_no_sense_gets_one_sentence(text: str, said: str) -> None:
    with pytest.raises(InvalidPlan) as caught:
        planfile.read(text, source="plan.yaml")
    assert said in str(caught.value)
    assert str(caught.value).startswith("plan.yaml, ")
    assert "\n" not in str(caught.value)


def test_a_newer_releases_plan_is_read() -> None:
    data = PLAN.as_data()
    data["invented_later"] = {"x": 1}
    data["moves"][0]["invented_later"] = True
    data["findings"][0]["invented_later"] = True
    del data["consumer_positions"]
    assert Plan.of_data(data) == PLAN


def test_what_makes_a_confirmation_void() -> None:
    seen = [Finding("a", "pass", "fine"), Finding("b", "warn", "hm", "x")]
    assert news(seen, seen) == []
    assert news(seen, []) == []
    worse = Finding("a", "refuse", "no longer")
    other = Finding("b", "warn", "hm", "y")
    assert news(seen, [worse, other, seen[1]]) == [worse, other]
    assert worst([]) == "pass"
    assert worst([*seen, worse]) == "refuse"
