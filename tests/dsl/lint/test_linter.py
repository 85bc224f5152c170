"""Silencing, severities, order, notes, and what the rules have in common."""

import builtins
import random
import re
from pathlib import Path
from typing import Any

import pytest

from dsl.documents import graph, node
from lastgood.dsl import Document
from lastgood.dsl.lint import RULES, Problem, lint
from lastgood.dsl.lint.guide import guide

from .cases import CASES
from .cases.parts import START, chain, code, end, flow, http, llm

DOCS = Path(__file__).parents[3] / "docs"


def rules(document: Document, **options: Any) -> list[str]:
    return [problem.rule for problem in lint(document, **options).problems]


def note(text: str) -> dict[str, Any]:
    return {"id": "note", "type": "custom-note", "data": {"type": "", "text": text}}


def silenced_by(desc: str, said: str = "") -> tuple[list[str], int]:
    document = flow(llm(prompt=" ", desc=desc), http(timeout={}), note(said))
    report = lint(document)
    return sorted({problem.rule for problem in report.problems}), report.silenced


ALL = ["empty-prompt", "http-without-timeout", "unused-result"]
SILENCED = [
    ("", "", ALL, 0),
    ("lastgood: allow empty-prompt", "", ["http-without-timeout", "unused-result"], 1),
    ("Asks.\n\nlastgood:allow  empty-prompt , unused-result\nmore", "", ["http-without-timeout"], 2),
    ("lastgood: allow http-without-timeout", "", ALL, 0),
    ("", '{"root": {"text": "lastgood: allow http-without-timeout"}}', ["empty-prompt", "unused-result"], 1),
    ("lastgood: allow", "lastgood allow empty-prompt", ALL, 0),
    ("lastgood: allow EMPTY-PROMPT", "", ALL, 0),
]


@pytest.mark.parametrize(("desc", "said", "left", "silenced"), SILENCED)
def test_silencing(desc: str, said: str, left: list[str], silenced: int) -> None:
    assert silenced_by(desc, said) == (left, silenced)


def test_settings_silence_and_weigh() -> None:
    document = flow(llm(prompt=" "), http(timeout={}))
    report = lint(document, allow={"empty-prompt"}, severities={"http-without-timeout": "error"})
    assert [(problem.rule, problem.severity) for problem in report.problems] == [
        ("unused-result", "info"),
        ("http-without-timeout", "error"),
    ]
    assert report.silenced == 1


def test_what_is_allowed_must_exist() -> None:
    assert lint(flow(code(desc="lastgood: allow emty-prompt")), allow=["other"]).notes == (
        "There is no rule emty-prompt to allow.",
        "There is no rule other to allow.",
    )
    assert lint(flow(code())).notes == ()


def test_findings_stand_in_the_order_of_the_document() -> None:
    parts = [http(timeout={}) | {"id": f"h{i}"} for i in range(12)]
    paths = [problem.path for problem in lint(flow(*parts)).problems]
    assert paths == [f"workflow.graph.nodes[{i}].data.timeout" for i in range(1, 13)]


def test_the_order_of_findings_does_not_depend_on_chance() -> None:
    bad = [case.bad for case in CASES]
    first = [lint(document) for document in bad]
    for seed in range(3):
        shuffled = [Document(_shuffled(document.data, random.Random(seed))) for document in bad]
        for document, report in zip(shuffled, first, strict=True):
            assert {_essence(problem) for problem in lint(document).problems} == {
                _essence(problem) for problem in report.problems
            }
    assert [lint(document) for document in bad] == first


def _essence(problem: Problem) -> tuple[str, ...]:
    return problem.rule, problem.severity, problem.node, problem.path


def _shuffled(value: Any, chance: random.Random) -> Any:
    """The same value with the keys of its mappings in another order."""
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: _shuffled(value[key], chance) for key in keys}
    return [_shuffled(item, chance) for item in value] if isinstance(value, list) else value


def test_one_mistake_is_told_once() -> None:
    document = flow(llm(prompt="{{#gone.a#}} {{#gone.a#}} {{#gone.b#}}"))
    assert rules(document).count("unknown-node") == 2


def test_a_finding_names_its_node() -> None:
    (problem,) = (p for p in lint(flow(llm(prompt=" ", title="Ask"))).problems if p.rule == "empty-prompt")
    assert (problem.node, problem.title, problem.path) == (
        "m",
        "Ask",
        "workflow.graph.nodes[1].data.prompt_template",
    )


def test_no_finding_shows_a_secret() -> None:
    secret = "glpat-" + "Zr7Kq2Wm9Xv4Tn8Pb3Lc"
    document = flow(
        http(headers=f"Authorization: Bearer {secret}", params=f"token:{secret}"),
        code(f"k = '{secret}'; return {{'a': q}}", title=f"Uses {secret}"),
        node("t", "template-transform", template="{{ q " + secret + " }}", variables=[]),
        llm(prompt=f"{{{{#gone.{secret}#}}}}"),
        environment_variables=[{"name": "A", "value_type": "string", "value": secret}],
    )
    report = lint(document)
    assert sum(problem.rule == "secret-in-clear" for problem in report.problems) >= 4
    assert not [problem for problem in report.problems if "Zr7Kq2Wm9Xv4" in problem.sentence]


def test_without_jinja_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    document = flow(node("t", "template-transform", template="{% if %}", variables=[]), http(timeout={}))
    assert "jinja-syntax" in rules(document)
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "jinja2":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    report = lint(document)
    assert {problem.rule for problem in report.problems} == {"http-without-timeout", "unused-result"}
    assert report.notes == ("Jinja templates were not looked at: Jinja2 is not installed.",)


def test_code_is_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    writes = f"open({str(mark)!r}, 'w')"
    jinja = node("t", "template-transform", template="{{ cycler.__init__.__globals__.os.system('x') }}", variables=[])
    lint(flow(code(code=f"{writes}\n\ndef main(q, r={writes}):\n    return {{'a': q}}\n"), jinja))
    assert not mark.exists()


def test_several_entries_of_a_document_without_a_node() -> None:
    document = graph(START, end(), *chain("s", "e"), environment_variables=[{"name": "A"}, 7, {"name": "B"}])
    assert [(p.rule, p.node, p.title, p.path) for p in lint(document).problems] == [
        ("unused-variable", "", "", "workflow.environment_variables[0]"),
        ("unused-variable", "", "", "workflow.environment_variables[2]"),
    ]


def test_every_rule_is_told_well() -> None:
    for rule in RULES.values():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.id)
        assert rule.summary.endswith(".")
        assert rule.why.rstrip(")").endswith(".")
        assert rule.example
        assert not rule.example.endswith(".")
        assert rule.severity in ("error", "warning", "info")


def test_the_page_of_rules_is_up_to_date() -> None:
    page = (DOCS / "lint.md").read_text()
    assert page == guide(), "write it anew: python -m lastgood.dsl.lint.guide > docs/lint.md"
    assert re.findall(r"^#### (.+)$", page, re.MULTILINE) == list(RULES)


def test_the_figures_are_about_rules_that_exist() -> None:
    page = (DOCS / "lint-precision.md").read_text()
    named = set(re.findall(r"^\| [0-9a-f]{12} \| ([a-z-]+) \|", page, re.MULTILINE))
    assert named
    assert named <= set(RULES)
