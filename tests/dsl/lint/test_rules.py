"""Every rule finds what it is for, and leaves its neighbour alone."""

import pytest

from lastgood.dsl.lint import RULES, lint

from .cases import CASES, SOUND, Case


@pytest.mark.parametrize("case", CASES, ids=[f"{case.rule}-{i}" for i, case in enumerate(CASES)])
def test_a_rule(case: Case) -> None:
    found = [problem for problem in lint(case.bad).problems if problem.rule == case.rule]
    assert found, [(problem.rule, problem.sentence) for problem in lint(case.bad).problems]
    problem = found[0]
    assert case.says in problem.sentence
    assert case.at in problem.path
    assert problem.severity == (case.severity or RULES[case.rule].severity)
    assert problem.sentence[0] == problem.sentence[0].upper()
    assert problem.sentence.endswith(".")
    assert case.rule not in {problem.rule for problem in lint(case.good).problems}


def test_every_rule_has_a_case() -> None:
    assert {case.rule for case in CASES} == set(RULES)


def test_nothing_is_wrong_with_a_sound_document() -> None:
    assert lint(SOUND).problems == ()
