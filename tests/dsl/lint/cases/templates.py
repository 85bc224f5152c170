"""Rules on Jinja templates: documents that break one, each with one that does not."""

from typing import Any, Final

from dsl.documents import node

from .parts import Case, flow, llm


def template(text: str, *names: str) -> dict[str, Any]:
    variables = [{"variable": name, "value_selector": ["s", "q"]} for name in names or ("q",)]
    return node("t", "template-transform", template=text, variables=variables)


CASES: Final = [
    Case(
        "jinja-syntax",
        flow(template("{% if q %}")),
        flow(template("{% if q %}{{ q }}{% endif %}")),
        "line 1",
        "template",
    ),
    Case("jinja-syntax", flow(template("{{#s.q#}}")), flow(template("{{ q }}")), "does not parse", "template"),
    Case(
        "jinja-syntax",
        flow(template("{{ q|no_such_filter }}")),
        flow(template("{{ q|upper }}")),
        "no_such_filter",
        "template",
    ),
    Case(
        "jinja-unknown-name",
        flow(template("{{ other }}")),
        flow(template("{% for x in q %}{{ loop.index }}{{ x }}{% endfor %}{{ range(3) }}")),
        "“other”",
        "template",
    ),
    Case(
        "jinja-unknown-name",
        flow(llm(prompt_template=[{"edition_type": "jinja2", "jinja2_text": "{{ other }}"}])),
        flow(
            llm(
                prompt_template=[{"edition_type": "jinja2", "jinja2_text": "{{ q }}"}],
                prompt_config={"jinja2_variables": [{"variable": "q", "value_selector": ["s", "q"]}]},
            )
        ),
        "“other”",
        "jinja2_text",
    ),
]
