"""Finds what Dify and its engine do not: mistakes that a document carries from the editor into every run.

A theme is a module: its rules, and one function that looks for them."""

from lastgood.dsl.lint.linter import RULES, THEMES, Report, lint
from lastgood.dsl.lint.render import as_github, as_json, as_lines, summary
from lastgood.dsl.lint.rules import Problem, Rule, Severity
from lastgood.dsl.lint.texts import strings

__all__ = [
    "RULES",
    "THEMES",
    "Problem",
    "Report",
    "Rule",
    "Severity",
    "as_github",
    "as_json",
    "as_lines",
    "lint",
    "strings",
    "summary",
]
