"""The documentation of the change rules, written from the rules themselves."""

from typing import Final

from lastgood.dsl.rules.registry import THEMES
from lastgood.dsl.rules.rule import Rule

_INTRODUCTION: Final = """# Change rules

What changed between two versions, does it matter, and to whom: each value that differs falls under exactly one of
these rules. Layout that Dify keeps beside a workflow is told last, noise not at all.

| tier | who notices | next version |
|---|---|---|
| CALLER | whoever sends requests or reads answers | major when breaking, else minor |
| INTEGRATION | whoever runs the workspace: models, plugins, hosts, variables | minor |
| BEHAVIOUR | whoever reads what a run gives | patch |
| LAYOUT | whoever opens the editor | patch |

| severity | means |
|---|---|
| breaking | a caller that did nothing wrong fails; each such change carries a witness |
| warning | nobody is refused, but somebody may be surprised |
| info | good to know |

A witness is a request that the old version takes and the new one refuses, tried on both, or the name of an output
that is gone or of another type. Where a rule says breaking and no witness is found, the change is told as a warning.
What counts is what the document declares: a Dify server that drops files silently still breaks a promise.

A setting raises any rule, to a severity or to a tier, for the numbers that `publish` gives and for every difference
that is told; none can be made lighter. In `lastgood.toml`:

```toml
[rules]
model-changed = "breaking"       # another model: major
prompt-changed = "INTEGRATION"   # another prompt: minor
```

or as a variable, `LASTGOOD_RULES='{"model-changed": "breaking"}'`. The first version is 1.0.0; below 1.0 the minor is
the major.

How often the rules are right on real histories: [change-rules-precision.md](change-rules-precision.md).
"""


def guide() -> str:
    """The page ``docs/change-rules.md``."""
    parts = [_INTRODUCTION]
    for theme in THEMES:
        about = (theme.__doc__ or "").removeprefix("Rules on ").rstrip(".")
        first = next(iter(theme.RULES.values()))
        parts.append(f"## {first.tier}: {about}\n\n| rule | severity | what happened | what comes of it | example |")
        parts.append("|---|---|---|---|---|\n" + "\n".join(map(_row, theme.RULES.values())) + "\n")
    return "\n".join(parts).replace("|\n\n|---", "|\n|---")


def _row(rule: Rule) -> str:
    cells = (f"`{rule.id}`", rule.severity, rule.sentence, rule.explanation, rule.example)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
