"""No key that somebody wrote into a document, and no secret, is in anything that is shown."""

from typing import Any

import orjson
import pytest

from dsl.documents import graph, node
from lastgood.dsl import Document
from lastgood.dsl.compare import Difference, as_data, compare, lines, markdown, stat_lines
from lastgood.dsl.compare.hidden import HIDDEN, is_hidden, shown
from lastgood.dsl.keys import secret_name

OLD, NEW = "Zq7old4kPw9xLm2", "Zq7new8rTt3vBn5"


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        *((name, True) for name in ("api_key", "apiKey", "X-Api-Key", "OPENAI_API_KEY", "Authorization", "password")),
        *(
            (name, True)
            for name in ("token", "access_token", "client-secret", "Cookie", "passwd", "sk", "privateKey")
        ),
        *((name, False) for name in ("key", "max_tokens", "token_count", "secretary", "credential_id", "task")),
        *((name, False) for name in ("keyword", "password_min_length", "api_key_name", "tokenizer", "monkey", "")),
    ],
)
def test_names_of_secrets(name: str, is_secret: bool) -> None:
    assert secret_name(name) == is_secret


@pytest.mark.parametrize(
    ("value", "hidden"),
    [
        ("abc", True),
        ("Bearer abc", True),
        ("prefix-{{#env.KEY#}}", True),
        ("{{#env.KEY#}}", False),
        ("Bearer {{#env.KEY#}}", False),
        ("{{ key }}", False),
        ("", False),
        (None, False),
        (7, False),
    ],
)
def test_references_are_no_secrets(value: Any, hidden: bool) -> None:
    assert is_hidden(("data", "authorization", "config", "api_key"), value) == hidden


def everything_shown(found: Difference) -> str:
    told = [f"{line.text} {line.detail}" for line in lines(found)]
    return "\n".join([*told, markdown(found), *stat_lines(found), orjson.dumps(as_data(found)).decode(), repr(found)])


PLACES: dict[str, tuple[str, Any]] = {
    "the credential of a request": ("http-request", lambda key: {"authorization": {"config": {"api_key": key}}}),
    "a header": ("http-request", lambda key: {"headers": f"Accept: text\nAuthorization: Bearer {key}\nX-Y: 1"}),
    "a header alone": ("http-request", lambda key: {"headers": f"X-Api-Key:{key}"}),
    "a parameter of an address": ("http-request", lambda key: {"params": f"q:1\nkey:{key}"}),
    "an address": ("http-request", lambda key: {"url": f"https://api.example.com/v1?access_token={key}&q=1"}),
    "a password in an address": ("http-request", lambda key: {"url": f"postgres://me:{key}@db.example.com/x"}),
    "a body": ("http-request", lambda key: {"body": {"data": [{"key": "api_key", "type": "text", "value": key}]}}),
    "JSON in a body": ("http-request", lambda key: {"body": {"data": [{"value": f'{{"password": "{key}"}}'}]}}),
    "a tool's configuration": ("tool", lambda key: {"tool_configurations": {"api_key": key, "n": 3}}),
    "a tool's parameter": ("tool", lambda key: {"tool_parameters": {"token": {"type": "mixed", "value": key}}}),
    "an agent's tool": (
        "agent",
        lambda key: {
            "agent_parameters": {
                "tools": {"value": [{"tool_name": "t", "settings": {"secret": {"value": {"value": key}}}}]}
            }
        },
    ),
    "code": ("code", lambda key: {"code": f"import x\n\nAPI_KEY = '{key}'\n\ndef main():\n    return {{}}\n"}),
    "code in one line": ("code", lambda key: {"code": f'call(password="{key}")'}),
    "a key that is known by its looks": ("llm", lambda key: {"prompt_template": [{"text": f"Use sk-{key}{key}."}]}),
    "a block": (
        "code",
        lambda key: {"code": f"k = \"-----BEGIN RSA PRIVATE KEY-----\n{key}\n-----END RSA PRIVATE KEY-----\"\nx = 1"},
    ),
    "the default of an input": ("start", lambda key: {"variables": [{"variable": "password", "default": key}]}),
}  # fmt: skip


def with_key(kind: str, data: Any, key: str, **more: Any) -> Document:
    return graph(node("n", kind, **data(key), **more))


@pytest.mark.parametrize(("kind", "data"), PLACES.values(), ids=PLACES.keys())
def test_a_key_in_a_node(kind: str, data: Any) -> None:
    old, new = with_key(kind, data, OLD), with_key(kind, data, NEW)
    for found in (
        compare(old, new),
        compare(old, with_key(kind, data, NEW, title="Another")),
        compare(old, graph()),
        compare(graph(), old),
        compare(old, graph(node("n", kind))),
        compare(graph(node("n", kind)), old),
    ):
        told = everything_shown(found)
        assert OLD not in told
        assert NEW not in told
    told = everything_shown(compare(old, new))
    assert HIDDEN in told
    assert "changed" in told


@pytest.mark.parametrize("part", ["environment_variables", "conversation_variables"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"value_type": "secret", "value": OLD}, {"value_type": "secret", "value": NEW}),
        ({"value_type": "secret", "value": OLD}, {"value_type": "string", "value": NEW}),
        ({"value_type": "string", "value": OLD}, {"value_type": "secret", "value": NEW}),
        ({"value_type": "string", "value": OLD}, {"value_type": "string", "value": NEW}),
    ],
)
def test_a_variable_that_is_or_is_named_like_a_secret(part: str, before: Any, after: Any) -> None:
    old, new = ({"name": "SERVICE_TOKEN", **side} for side in (before, after))
    documents = [Document({"workflow": {"graph": {}, part: items}}) for items in ([old], [new], [])]
    for first in documents:
        for second in documents:
            told = everything_shown(compare(first, second, secrets_changed=frozenset({"SERVICE_TOKEN"})))
            assert OLD not in told
            assert NEW not in told


def test_a_secret_that_changed_is_named() -> None:
    document = graph(environment_variables=[{"name": "PIN", "value_type": "secret", "value": OLD}])
    found = compare(document, document, secrets_changed=frozenset({"PIN"}))
    assert [(line.text, line.detail) for line in lines(found)] == [
        ("Environment variables", ""),
        ("PIN", "secret, value changed (hidden)"),
    ]
    assert as_data(found)["secrets"] == ["PIN"]


def test_a_key_that_gives_way_to_a_reference_is_told_so() -> None:
    place = "the credential of a request"
    kind, data = PLACES[place]
    found = compare(with_key(kind, data, OLD), with_key(kind, data, "{{#env.KEY#}}"))
    assert lines(found)[-1].detail == "(hidden) → {{#env.KEY#}}"
    change = as_data(found)["nodes"][0]["changes"][0]
    assert (change["old"], change["new"], change["hidden"]) == (HIDDEN, "{{#env.KEY#}}", True)


def test_lines_around_a_key_are_still_told() -> None:
    kind, data = PLACES["a header"]
    old, new = (
        with_key(kind, data, OLD),
        with_key(kind, lambda key: {"headers": f"Accept: json\nAuthorization: {key}\nX-Y: 1"}, NEW),
    )
    assert [(line.role, line.text, line.detail) for line in lines(compare(old, new)) if line.block] == [
        ("removed", "Accept: text", ""),
        ("added", "Accept: json", ""),
        ("changed", "Authorization:(hidden)", "changed (hidden)"),
        ("context", "X-Y: 1", ""),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "- key: 'the-name-of-a-variable'",
        "token: the words of the user",
        "max_tokens = '4096-at-most'",
        "api_key = os.environ['SERVICE_KEY']",
        'headers = {"Authorization": f"Bearer {key}"}',
        "https://example.com/?q=token&page=2",
        "Say {{#env.API_KEY#}}.",
    ],
)
def test_what_is_no_key_is_shown(text: str) -> None:
    assert shown({"text": text, "code": text}) == {"text": text, "code": text}


def test_what_is_shown_of_a_value_is_as_long_in_lines() -> None:
    text = "a\n-----BEGIN PRIVATE KEY-----\nx\ny\n-----END PRIVATE KEY-----\nb"
    assert shown(text) == "a\n(hidden)\n(hidden)\n(hidden)\n(hidden)\nb"
