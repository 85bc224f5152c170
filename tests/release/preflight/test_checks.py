"""The state, the content and the evidence: facts, and what is said of them; and what holds of every check."""

from collections.abc import Iterable
from typing import Any

import pytest

from dsl.documents import corpus
from lastgood import dsl
from lastgood.errors import LastgoodError
from lastgood.release.preflight.examination import CHECKS, judge
from lastgood.release.preflight.facts import (
    Answer,
    Engine,
    Evidence,
    Facts,
    Side,
    Unknown,
)

from .small import DIFY, EMBEDDED, NEW, OLD, facts, flow, found, side, told, verdicts


@pytest.mark.parametrize(
    ("state", "force", "pointed", "verdict", "says"),
    [
        ("stable", False, NEW, "pass", "is stable (smoke requests passed)"),
        ("candidate", False, NEW, "warn", "is not proven; named by you"),
        ("failed", False, NEW, "refuse", "workflow:rollback:force"),
        ("failed", True, NEW, "warn", "gone to by force"),
        ("stable", False, OLD, "refuse", "points to v-20261101-01 already"),
        ("stable", True, OLD, "refuse", "Name another version"),
        ("stable", False, None, "pass", "is stable"),
    ],
)
def test_the_state(state: str, force: bool, pointed: str | None, verdict: str, says: str) -> None:
    to = side(flow(), OLD, state=state, why="smoke requests passed")
    given = facts(to, force=force, pointed=pointed)
    assert verdicts("state", given) == verdict
    assert says in told("state", given)


@pytest.mark.parametrize(
    ("to", "now", "verdict", "says"),
    [
        (side(flow(), OLD), side(flow(), NEW), "pass", "can be read."),
        (side(flow(), OLD, archived=True), side(flow(), NEW), "pass", "from the archive"),
        (side(Unknown("it differs"), OLD, damaged=True), side(flow(), NEW), "refuse", "damaged: it differs"),
        (side(Unknown("odd"), OLD), side(flow(), NEW), "warn", "says nothing: odd"),
        (side(flow(), OLD), side(Unknown("odd"), NEW), "warn pass", "nothing can be compared"),
    ],
)
def test_the_content(to: Side, now: Side, verdict: str, says: str) -> None:
    assert verdicts("content", facts(to, now)) == verdict
    assert says in told("content", facts(to, now))


@pytest.mark.parametrize(
    ("kept", "verdict", "says"),
    [
        (Evidence(), "pass", "No evidence is kept"),
        (
            Evidence({"smoke": 3, "mark": 1}),
            "pass",
            "stays with them, whatever v-20261101-01 can read of it: 1 mark, 3 smoke",
        ),
        (Evidence(smokes={"s1": ({"text": "string"}, frozenset({"said"}))}), "pass", ""),
        (
            Evidence(smokes={"s1": ({}, frozenset({"vat"}))}),
            "pass warn",
            "it looks at “vat”, which v-20261101-01 does not",
        ),
        (Evidence(smokes={"s1": ({"text": "object"}, frozenset())}), "pass warn", "must be a string"),
        (Unknown("odd"), "warn", "odd"),
    ],
)
def test_evidence(kept: Evidence | Unknown, verdict: str, says: str) -> None:
    given = facts(flow(outputs=("said",)), evidence=kept)
    assert verdicts("evidence", given) == verdict
    assert says in told("evidence", given)


def test_every_check_says_something_and_where() -> None:
    findings = judge(facts())
    assert {one.check for one in findings} == set(CHECKS)
    assert {one.subject.split()[0] for one in findings} == {"greet/live"}
    assert {one.verdict for one in findings} == {"pass"}


def test_no_check_says_nothing_of_a_version_that_cannot_be_read() -> None:
    unread = side(Unknown("odd"), OLD)
    for target in (DIFY, EMBEDDED):
        given = facts(unread, target=target, engine=Unknown("odd"), calls=Unknown("odd"))
        silent = {"state", "middleware", "workflow-tools"}  # they do not go by the content
        assert {name for name in CHECKS if verdicts(name, given).split()[-1] == "pass"} == silent


def _fails(given: Facts) -> Iterable[Answer]:
    yield Answer("pass", "So far so good.")
    raise KeyError("a value that nobody may see")


def _silent(given: Facts) -> Iterable[Answer]:
    return ()


@pytest.mark.parametrize(("check", "words"), [(_fails, "(KeyError)"), (_silent, "it gave no answer")])
def test_a_check_that_fails_of_itself_warns(check: Any, words: str) -> None:
    findings = judge(facts(), {"mine": check, "state": CHECKS["state"]})
    assert findings[-1].check == "state"
    warned = [one for one in findings if one.verdict == "warn"]
    assert [one.check for one in warned] == ["mine"]
    assert words in warned[0].sentence
    assert "nobody may see" not in warned[0].sentence


def test_what_is_told_stands_on_one_line() -> None:
    given = facts(engine=Engine(broken=("one\nline",)))
    assert found("engine", given)[0][1].count("\n") == 0


def test_real_documents_are_judged_by_every_check() -> None:
    judged = 0
    for path in corpus():
        try:
            document = dsl.parse(path.read_bytes())
        except LastgoodError:
            continue
        findings = judge(facts(document, target=DIFY))
        assert not [one for one in findings if one.subject.endswith("unknown")], path.name
        judged += 1
    assert judged > 100
