"""The documentation of the rules, written from the rules themselves."""

from lastgood.dsl.lint.linter import THEMES
from lastgood.dsl.lint.rules import Rule

_INTRODUCTION = """# Lint

`lastgood lint flow.yml` looks for mistakes that Dify's editor and engine do not report. It only reads: nothing of the
document is run, fetched or sent anywhere. Each finding names its rule, the node and the place in the document, and
the line in the file; `--format github` makes annotations of them in a pull request.

| severity | means |
|---|---|
| error | a run fails or goes wrong, or a secret is open to readers |
| warning | some runs go wrong, or something is almost certainly not meant |
| info | worth a look; often meant |

## Silence a finding

- **one node**: write `lastgood: allow RULE` (several with commas) into the node's description in Dify's editor;
- **the whole document**: write the same into a sticky note on the canvas;
- **everywhere**: `lastgood lint --allow RULE`; in Python `lint(document, allow={"RULE"})`, where
  `severities={"RULE": "error"}` also makes a rule weigh more or less.

A report counts what was silenced. Two more things are told as notes: an allowed rule that does not exist, and rules
that could not look (those on Jinja need Jinja2, which the `engine` extra brings).

How often the rules are right on real documents: [lint-precision.md](lint-precision.md).

## Rules
"""


def guide() -> str:
    """The page ``docs/lint.md``."""
    parts = [_INTRODUCTION]
    for theme in THEMES:
        parts.append(f"### {_heading(theme.__doc__)}\n")
        parts += map(_entry, theme.RULES)
    return "\n".join(parts)


def _heading(about: str | None) -> str:
    subject = (about or "").partition(":")[0].partition(".")[0]
    return subject.removeprefix("Rules on ").capitalize()


def _entry(rule: Rule) -> str:
    return f"#### {rule.id}\n\n**{rule.severity}** · {rule.summary} {rule.why}\n\nExample: {rule.example}\n"


if __name__ == "__main__":
    print(guide(), end="")
