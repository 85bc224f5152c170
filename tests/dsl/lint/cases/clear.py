"""Rules on secrets: documents that break one, each with one that does not."""

from typing import Any, Final

from dsl.documents import node

from .parts import KEYS, Case, code, flow, http, llm, plain

TOKEN: Final = "glpat-" + "Zr7Kq2Wm9Xv4Tn8Pb3Lc"  # drawn for this test
BEARER: Final = "Bearer " + "Zr7Kq2Wm9Xv4Tn8Pb3LcHd6Fg1"


def authorized(key: str, url: str = "https://api.shop.io") -> dict[str, Any]:
    return http(url=url, authorization={"type": "api-key", "config": {"type": "bearer", "api_key": key}})


CASES: Final = [
    Case(
        "secret-in-clear",
        flow(authorized("Zr7Kq2Wm9Xv4")),
        flow(authorized("{{#env.KEY#}}"), **KEYS),
        "the credential of the request",
        "api_key",
    ),
    Case(
        "secret-in-clear",
        flow(http(headers=f"Authorization: {BEARER}")),
        flow(http(headers="Authorization: Bearer {{#env.KEY#}}"), **KEYS),
        "in clear text",
        "headers",
    ),
    Case(
        "secret-in-clear",
        flow(http(params="api_key:Zr7Kq2Wm9Xv4")),
        flow(http(params="page:Zr7Kq2Wm9Xv4")),
        "a secret (api_key)",
        "params",
    ),
    Case(
        "secret-in-clear",
        flow(http(body={"type": "json", "data": [{"value": '{"client_secret": "Zr7Kq2Wm9Xv4Tn8Pb3"}'}]})),
        flow(http(body={"type": "json", "data": [{"value": '{"max_tokens": "Zr7Kq2Wm9Xv4Tn8Pb3"}'}]})),
        "client_secret",
        "body.data[0].value",
    ),
    Case(
        "secret-in-clear",
        flow(code(f"k = '{TOKEN}'; return {{'a': q}}")),
        flow(code("k = 'glpat-your-token-goes-here1'; return {'a': q}")),
        "a GitLab token",
        "code",
    ),
    Case(
        "secret-in-clear",
        flow(code("password = 'Zr7Kq2Wm9Xv4Tn8Pb3'; return {'a': q}")),
        flow(code("password = 'put it here, please'; return {'a': q}")),
        "a secret (password)",
        "code",
    ),
    Case(
        "secret-in-clear",
        flow(node("t", "tool", tool_configurations={"db_password": "Zr7Kq2Wm"})),
        flow(node("t", "tool", tool_configurations={"db_password": "********", "token_limit": "123456789"})),
        "db_password",
        "tool_configurations.db_password",
    ),
    Case(
        "secret-in-clear",
        flow(node("t", "tool", tool_parameters={"api_key": {"type": "constant", "value": "Zr7Kq2Wm9"}})),
        flow(node("t", "tool", tool_parameters={"api_key": {"type": "mixed", "value": "{{#env.KEY#}}"}}), **KEYS),
        "api_key",
        "tool_parameters.api_key.value",
    ),
    Case(
        "secret-in-clear",
        flow(llm(prompt=f"{{{{#s.q#}}}} use {TOKEN}")),
        flow(llm(prompt="{{#s.q#}} write like sk-example-not-a-real-key-00")),
        "a GitLab token",
        "text",
    ),
    Case(
        "secret-in-clear",
        plain(f"{{{{q}}}} {TOKEN}", {"variable": "q"}),
        plain("{{q}}", {"variable": "q"}),
        "a GitLab token",
        "pre_prompt",
    ),
    Case(
        "secret-as-plain-variable",
        flow(
            llm(prompt="{{#env.API_KEY#}}"),
            environment_variables=[{"name": "API_KEY", "value_type": "string", "value": "x"}],
        ),
        flow(
            http(url="https://a.io/{{#env.API_KEY#}}"),
            environment_variables=[{"name": "API_KEY", "value_type": "secret", "value": "x"}],
        ),
        "is named like a secret",
        "environment_variables[0]",
    ),
    Case(
        "secret-as-plain-variable",
        flow(
            llm(prompt="{{#env.A#}}"), environment_variables=[{"name": "A", "value_type": "string", "value": TOKEN}]
        ),
        flow(llm(prompt="{{#env.A#}}"), environment_variables=[{"name": "A", "value_type": "string", "value": "b"}]),
        "a GitLab token",
        "environment_variables[0]",
    ),
    Case(
        "secret-leaves",
        flow(llm(prompt="{{#env.KEY#}}"), **KEYS),
        flow(http(headers="X-Key: {{#env.KEY#}}"), **KEYS),
        "shown to the model",
        "text",
    ),
    Case(
        "secret-leaves",
        flow(node("e", "end", outputs=[{"variable": "a", "value_selector": ["env", "KEY"]}]), **KEYS),
        flow(code(), **KEYS),
        "shown to callers",
        "outputs[0]",
    ),
    Case(
        "credentials-over-http",
        flow(authorized("{{#env.KEY#}}", "http://api.shop.io"), **KEYS),
        flow(authorized("{{#env.KEY#}}", "http://localhost:8080"), **KEYS),
        "api.shop.io unencrypted",
        "url",
    ),
    Case(
        "certificate-not-checked",
        flow(http(ssl_verify=False)),
        flow(http(ssl_verify=True)),
        "not checked",
        "ssl_verify",
    ),
]
