"""Rules on secrets: in clear text in the document, or on a way out."""

import re
from collections.abc import Iterator
from typing import Final

from lastgood.dsl.document import mappings
from lastgood.dsl.index import Node, mapping, text
from lastgood.dsl.lint.rules import Problem, Rule, Subject, quoted
from lastgood.dsl.lint.texts import strings

IN_CLEAR: Final = Rule(
    "secret-in-clear",
    "error",
    "What looks like a secret stands in the document in clear text.",
    "Everybody who reads the workflow, an export or its history has it; Dify leaves it even in exports without "
    "secrets. Put it into an environment variable of type secret and refer to that. Findings never show the value.",
    "an API key in the authorization of an HTTP request, `password = …` in code",
)
PLAIN_VARIABLE: Final = Rule(
    "secret-as-plain-variable",
    "warning",
    "An environment variable that is named like a secret is of another type.",
    "Its value is shown and exported in clear text. Make it a secret.",
    "`{name: API_KEY, value_type: string, value: …}`",
)
LEAVES: Final = Rule(
    "secret-leaves",
    "warning",
    "A secret is put into what callers or a model get to see.",
    "It ends up in answers, logs and the records of the model's provider.",
    "`{{#env.API_KEY#}}` in an answer or a prompt",
)
OVER_HTTP: Final = Rule(
    "credentials-over-http",
    "warning",
    "An HTTP request sends credentials unencrypted.",
    "Everybody on the way can read them. Addresses within one machine or network are left alone.",
    "`http://api.example.com` with an authorization",
)
UNVERIFIED: Final = Rule(
    "certificate-not-checked",
    "warning",
    "An HTTP request does not check the certificate of the server.",
    "Anybody on the way can pose as the server.",
    "`ssl_verify: false`",
)
RULES: Final = (IN_CLEAR, PLAIN_VARIABLE, LEAVES, OVER_HTTP, UNVERIFIED)

_KINDS: Final = {
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
    "an Anthropic key": r"\bsk-ant-[\w-]{20,}",
    "an OpenAI-like key": r"\bsk-(?:proj-|or-v1-)?[A-Za-z0-9_]{20,}",
    "an AWS access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{40,})",
    "a GitLab token": r"\bglpat-[\w-]{20,}",
    "a Slack token": r"\bxox[abprs]-[\w-]{10,}",
    "a Google key": r"\bAIza[\w-]{35}",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}",
    "a Tavily key": r"\btvly-[\w-]{20,}",
    "a Groq key": r"\bgsk_[A-Za-z0-9]{40,}",
    "a Stripe key": r"\b[rs]k_live_[A-Za-z0-9]{20,}",
    "a Dify key": r"\b(?:app|dataset)-[A-Za-z0-9]{24}\b",
    "a signed token": r"\beyJ[\w-]{8,200}\.eyJ[\w-]{8,4000}\.[\w-]{8,}",
    "a webhook address": r"hooks\.slack\.com/services/T\w+/B\w+/\w{16,}"
    r"|open\.feishu\.cn/open-apis/bot/v2/hook/[0-9a-f-]{36}"
    r"|oapi\.dingtalk\.com/robot/send\?access_token=[0-9a-f]{40,}"
    r"|qyapi\.weixin\.qq\.com/cgi-bin/webhook/send\?key=[0-9a-f-]{36}"
    r"|discord(?:app)?\.com/api/webhooks/\d+/[\w-]{30,}",
    "a bearer token": r"(?i:\bbearer)\s+[A-Za-z0-9._~+/-]{24,}=*",
    "a password in an address": r"\b[a-z][a-z0-9+-]{1,12}://[^\s/:@{}'\"]{1,100}:[^\s/@{}'\"]{3,200}@[\w.-]",
}
_KNOWN: Final = re.compile("|".join(f"(?P<k{i}>{pattern})" for i, pattern in enumerate(_KINDS.values())))
# One of these is in every known secret: much quicker to look for than the patterns.
_MARKS: Final = (
    *("sk-", "AKIA", "ASIA", "gh", "glpat-", "xox", "AIza", "hf_", "tvly-", "gsk_", "k_live_", "app-", "dataset-"),
    *("eyJ", "hook", "robot/send", "earer", "EARER", "://", "PRIVATE KEY"),
)
_SHORTEST = 12
_NAMED: Final = re.compile(
    r"(?i)(?:^|[^a-z])(?:api|secret|private|access|hook|app|auth|sub)[-_ ]?key(?:$|[^a-z])|"
    r"(?:^|[^a-z])(?:passw(?:or)?d|pwd|secret|token|credential|authorization|cookie|[as]k)s?(?:$|[^a-z])"
)
_NO_SECRET_NAME: Final = re.compile(r"(?i)max|count|limit|num|usage|page|next|length|size|total|type|name|url|header")
# `name = "value"` in code, and `"name": "value"`.
_ASSIGNED: Final = re.compile(
    r"""(?<![\w-])([A-Za-z_][\w-]{0,60})['"]?[ \t]{0,20}[:=][ \t]{0,20}[rbf]?(["'])([^"'\s]{12,500})\2"""
)
_PLACEHOLDER: Final = re.compile(
    r"(?i)your|my[-_ ]?(?:key|token|secret|pass)|x{3,}|\*{3,}|\.{3}|…|example|placeholder|replace|change[-_ ]?me|"
    r"dummy|test|sample|todo|none|null|undefined|demo|fake|mock|insert|enter|[<>{}\[\]$]|^(?:1234\d*|abc\w*)$|填|替换|你的|您的|輸入|输入"
)
_WORDS: Final = re.compile(r"[A-Za-z]+(?:[-_ .][A-Za-z]+)*\d?")
_PRIVATE: Final = re.compile(
    r"(?:localhost|127(?:\.\d+){3}|10(?:\.\d+){3}|192\.168(?:\.\d+){2}|172\.(?:1[6-9]|2\d|3[01])(?:\.\d+){2}|\[::1\]|"
    r"[^.]+|.*\.(?:local|internal|lan|localhost|svc|test))(?::\d+)?"
)
_PLAIN_TYPES: Final = ("string", "number", "integer", "float")


def find(subject: Subject) -> Iterator[Problem]:
    """What the rules of this module find."""
    for node in subject.index.nodes.values():
        yield from _in_node(node)
        if node.type == "http-request":
            yield from _request(subject, node)
    yield from _variables(subject)
    yield from _leaving(subject)
    config = subject.document.data.get("model_config")
    if not subject.document.has_graph and isinstance(config, dict):
        for path, _, value in strings(config, "model_config"):
            if kind := known(value):
                yield IN_CLEAR.at(None, path, f"Here is what looks like {kind} in clear text.")


def known(value: str) -> str:
    """What kind of secret stands in a text for certain, ``""`` for none."""
    if len(value) < _SHORTEST or not any(mark in value for mark in _MARKS):
        return ""
    for found in _KNOWN.finditer(value):
        if not _PLACEHOLDER.search(found[0]) and not _WORDS.fullmatch(found[0].rpartition(" ")[2]):
            return list(_KINDS)[int((found.lastgroup or "k0")[1:])]
    return ""


def redacted(sentence: str) -> str:
    """`sentence` without the secrets that it may quote from a document."""
    return _KNOWN.sub("•••", sentence) if known(sentence) else sentence


def _in_node(node: Node) -> Iterator[Problem]:
    told: set[str] = set()
    for path, kind in _secrets(node):
        if path not in told:
            told.add(path)
            yield IN_CLEAR.at(node, path, f"Here is what looks like {kind} in clear text.")


def _secrets(node: Node) -> Iterator[tuple[str, str]]:
    if node.type == "http-request":
        yield from _credentials(node)
    for path, key, value in strings(dict(node.data), f"{node.path}.data"):
        kind = known(value)
        if kind:
            yield path, kind
        elif node.type in ("tool", "agent", "datasource") and _secret_name(key) and _secret_like(value):
            yield path, f"a secret ({key})"
        elif key == "code":
            named = [name for name, _, literal in _ASSIGNED.findall(value) if _secret_name(name) and _random(literal)]
            if named:
                yield path, f"a secret ({named[0]})"


def _credentials(node: Node) -> Iterator[tuple[str, str]]:
    """The settings of an HTTP request that hold a credential as such."""
    authorization = mapping(node.data.get("authorization"))
    config = mapping(authorization.get("config"))
    if authorization.get("type") != "no-auth" and _literal(text(config.get("api_key")), 6):
        yield f"{node.path}.data.authorization.config.api_key", "the credential of the request"
    for part in ("headers", "params"):
        for line in text(node.data.get(part)).splitlines():
            name, _, value = line.partition(":")
            if _secret_name(name) and _secret_like(value.strip()):
                yield f"{node.path}.data.{part}", f"a secret ({name.strip()})"
    body = mappings(mapping(node.data.get("body")).get("data"))
    for i, item in enumerate(body):
        value, path = text(item.get("value")), f"{node.path}.data.body.data[{i}].value"
        named = [name for name, _, literal in _ASSIGNED.findall(value) if _secret_name(name) and _random(literal)]
        if named or (_secret_name(text(item.get("key"))) and _secret_like(value)):
            yield path, f"a secret ({(named or [text(item.get('key'))])[0]})"


def _secret_name(name: str) -> bool:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return bool(_NAMED.search(spaced.strip())) and not _NO_SECRET_NAME.search(spaced)


def _literal(value: str, least: int) -> bool:
    """Whether a value is itself, and no reference, placeholder or mask."""
    return len(value) >= least and "{{" not in value and not _PLACEHOLDER.search(value)


def _secret_like(value: str) -> bool:
    return _literal(value, 8) and not _WORDS.fullmatch(value) and " " not in value.removeprefix("Bearer ").strip()


def _random(value: str) -> bool:
    """Whether a text looks drawn rather than written: long, with letters and digits mixed."""
    mixed = any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    return len(value) >= 16 and mixed and _secret_like(value) and "://" not in value and "/" not in value[:1]


def _variables(subject: Subject) -> Iterator[Problem]:
    for part in ("environment_variables", "conversation_variables"):
        items = subject.document.workflow.get(part)
        for i, item in enumerate(items if isinstance(items, list) else ()):
            name, value, path = text(mapping(item).get("name")), mapping(item).get("value"), f"workflow.{part}[{i}]"
            if not isinstance(value, str) or mapping(item).get("value_type") not in _PLAIN_TYPES:
                continue
            kind = known(value)
            if kind or (part == "environment_variables" and _secret_name(name) and value):
                looks = f"holds what looks like {kind}" if kind else "is named like a secret"
                yield PLAIN_VARIABLE.at(None, path, f"The variable {quoted(name)} {looks}, and is of another type.")


def _leaving(subject: Subject) -> Iterator[Problem]:
    secret = {
        text(item.get("name"))
        for item in subject.document.environment_variables
        if item.get("value_type") == "secret"
    }
    whom = {"end": "callers", "answer": "users", "llm": "the model"}
    for found in subject.used:
        node = subject.index.nodes[found.node]
        if (
            found.selector[:1] == ("env",)
            and found.selector[1:2]
            and found.selector[1] in secret
            and node.type in whom
        ):
            sentence = f"The secret {quoted(found.selector[1])} is shown to {whom[node.type]}."
            yield LEAVES.at(node, found.path, sentence)


def _request(subject: Subject, node: Node) -> Iterator[Problem]:
    if node.data.get("ssl_verify") is False:
        yield UNVERIFIED.at(node, ".ssl_verify", "The certificate of the server is not checked.")
    url = text(node.data.get("url")).strip().lower()
    hosts = [entry["host"] for entry in subject.needs["hosts"] if node.id in entry["nodes"]]
    sends = mapping(node.data.get("authorization")).get("type") == "api-key" or any(
        _secret_name(line.partition(":")[0]) for line in text(node.data.get("headers")).splitlines()
    )
    if url.startswith("http://") and hosts and "{{" not in hosts[0] and not _PRIVATE.fullmatch(hosts[0]) and sends:
        yield OVER_HTTP.at(node, ".url", f"Credentials are sent to {hosts[0]} unencrypted.")
