"""Keys and passwords that somebody wrote in clear: what surely is one by its looks, and what is named like one.

The linter accuses and the comparison hides; both ask here."""

import re
from typing import Final

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
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NAMED: Final = re.compile(
    r"(?:^|[^a-z])(?:(?:api|secret|private|access|app|hook|auth|sub(?:scription)?|sign(?:ing)?|master|encryption)"
    r"[-_ ]?keys?|apikey|passw(?:or)?ds?|passphrase|pwds?|secrets?|tokens?|credentials?|authorization|cookies?|bearer"
    r"|[as]ks?)(?:$|[^a-z])"
)
# `max_tokens` and `token_url` are no secrets; `secret_id` and `access_key_id` are, with their other halves.
_NO_SECRET: Final = re.compile(
    r"(?:^|[^a-z])(?:max|min|num|total|count|limit|usage|length|size|page|next|type|name|url|header|label|description"
    r"|placeholder|required|mode|format|schema|(?<!secret[-_ ])(?<!access[-_ ]key[-_ ])id)(?:$|[^a-z])"
)
_PLACEHOLDER: Final = re.compile(
    r"(?i)your|my[-_ ]?(?:key|token|secret|pass)|x{3,}|\*{3,}|\.{3}|…|example|placeholder|replace|change[-_ ]?me|"
    r"dummy|test|sample|todo|none|null|undefined|demo|fake|mock|insert|enter|[<>{}\[\]$]|^(?:1234\d*|abc\w*)$|填|替换|你的|您的|輸入|输入"
)
_WORDS: Final = re.compile(r"[A-Za-z]+(?:[-_ .][A-Za-z]+)*\d?")


def secret_name(name: str) -> bool:
    """Whether what has this name may be a key or a password."""
    spaced = _CAMEL.sub("_", name.strip()).lower()
    return bool(_NAMED.search(spaced)) and not _NO_SECRET.search(spaced)


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


def is_literal(value: str, least: int) -> bool:
    """Whether a value is itself, and no reference, placeholder or mask."""
    return len(value) >= least and "{{" not in value and not _PLACEHOLDER.search(value)


def is_like_a_key(value: str) -> bool:
    """Whether a value under the name of a secret may be one: itself, and no plain words."""
    return is_literal(value, 8) and not _WORDS.fullmatch(value) and " " not in value.removeprefix("Bearer ").strip()


def is_random(value: str) -> bool:
    """Whether a text looks drawn rather than written: long, with letters and digits mixed."""
    mixed = any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    return len(value) >= 16 and mixed and is_like_a_key(value) and "://" not in value and "/" not in value[:1]
