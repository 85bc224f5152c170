"""Lines, JSON and annotations."""

import json
from dataclasses import replace

from lastgood.dsl.lint import Problem, Report, as_github, as_json, as_lines, lint, summary

from .cases.parts import SOUND, flow, http

BARE = Problem("unused-variable", "info", "", "", "workflow.environment_variables[0]", "Nothing uses “A”.")
ODD = Problem(
    "empty-prompt", "error", "m", "Ask, now: 100%\n", "workflow.graph.nodes[1]", "It says\r\n100%: nothing."
)
REPORT = Report((BARE, ODD), 1, ("Something was not looked at.",))


def test_lines() -> None:
    assert as_lines(REPORT, "flow.yml").splitlines() == [
        "flow.yml: info unused-variable: workflow.environment_variables[0]: Nothing uses “A”.",
        "flow.yml: error empty-prompt: Ask, now: 100% (workflow.graph.nodes[1]): It says 100%: nothing.",
        "flow.yml: note: Something was not looked at.",
        "flow.yml: 1 error, 0 warnings, 1 info; 1 silenced",
    ]
    assert as_lines(lint(SOUND), "x") == "x: 0 errors, 0 warnings, 0 infos"


def test_json() -> None:
    told = as_json(REPORT, "flow.yml")
    assert json.loads(json.dumps(told)) == told
    assert (told["source"], told["silenced"], told["notes"]) == ("flow.yml", 1, ["Something was not looked at."])
    assert told["problems"][0] == {
        "rule": "unused-variable",
        "severity": "info",
        "node": "",
        "title": "",
        "path": "workflow.environment_variables[0]",
        "sentence": "Nothing uses “A”.",
        "line": None,
    }


def test_lines_of_the_file() -> None:
    report = Report((replace(BARE, line=7), ODD), 0, ())
    assert [line.partition(" ")[0] for line in as_lines(report, "flow.yml").splitlines()] == [
        "flow.yml:7:",
        "flow.yml:",
        "flow.yml:",
    ]
    first, second = as_github(report, "flow.yml").splitlines()
    assert first.startswith("::notice file=flow.yml,line=7,title=unused-variable::")
    assert second.startswith("::error file=flow.yml,title=")


def test_annotations() -> None:
    assert as_github(REPORT, "a,b:c.yml").split("\n") == [
        "::notice file=a%2Cb%3Ac.yml,title=unused-variable::Nothing uses “A”. (workflow.environment_variables[0])",
        "::error file=a%2Cb%3Ac.yml,title=empty-prompt%3A Ask%2C now%3A 100%25%0A::"
        "It says%0D%0A100%25: nothing. (workflow.graph.nodes[1])",
    ]
    assert as_github(Report((), 0, ()), "x") == ""
    warning = as_github(lint(flow(http(ssl_verify=False))), "flow.yml")
    assert warning.startswith("::warning file=flow.yml,title=certificate-not-checked%3A Http-Request::")


def test_sums() -> None:
    assert summary(REPORT) == "1 error, 0 warnings, 1 info; 1 silenced"
    assert summary(Report((ODD, ODD, BARE, BARE), 0, ())) == "2 errors, 0 warnings, 2 infos"
