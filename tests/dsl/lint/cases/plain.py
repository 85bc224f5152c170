"""Rules on apps without a graph: documents that break one, each with one that does not."""

from typing import Final

from .parts import Case, plain

CASES: Final = [
    Case(
        "prompt-unknown-input",
        plain("{{q}} in {{language}}", {"variable": "q"}),
        plain("{{q}} {{query}}", {"variable": "q"}),
        "“language”",
        "pre_prompt",
    ),
]
