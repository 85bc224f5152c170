"""Rules on code nodes: documents that break one, each with one that does not."""

from typing import Final

from .parts import Case, code, flow

CASES: Final = [
    Case("python-syntax", flow(code("return {")), flow(code()), "line 2", "code"),
    Case("python-syntax", flow(code("print 'a'")), flow(code(r"return {'a': '\d'}")), "does not parse", "code"),
    Case(
        "code-without-main",
        flow(code(code="x = 1\n")),
        flow(code(code="main = lambda q: {'a': q}\n")),
        "`main`",
        "code",
    ),
    Case(
        "code-without-main",
        flow(code(code="const f = 1", code_language="javascript")),
        flow(code(code="function main({q}) {}", code_language="javascript")),
        "`main`",
        "code",
    ),
    Case(
        "main-parameters",
        flow(code(code="def main(q, r):\n    return {'a': q}\n")),
        flow(code(code="def main(q, r=1):\n    return {'a': q}\n")),
        "needs “r”",
        "variables",
    ),
    Case(
        "main-parameters",
        flow(code(code="def main():\n    return {'a': 1}\n")),
        flow(code(code="def main(**kw):\n    return {'a': 1}\n")),
        "passes “q”",
        "code",
    ),
    Case(
        "output-not-returned",
        flow(code("return {}")),
        flow(code("return dict(a=q)")),
        "lacks what the node declares: “a”",
        "code",
    ),
    Case("output-not-returned", flow(code("pass")), flow(code("raise ValueError(q)")), "returns nothing", "code"),
    Case(
        "output-not-declared",
        flow(code("return {'a': 1, 'b': 2}")),
        flow(code("return {'a': 1, **q}")),
        "“b”",
        "code",
    ),
]
