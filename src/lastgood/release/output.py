"""What a command printed, as it is kept: its beginning and its end, secrets masked, nothing that moves a terminal."""

import os
import re
from collections.abc import Iterable
from typing import Final

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from lastgood.dsl.compare import HIDDEN, shown_text
from lastgood.dsl.keys import secret_name
from lastgood.dsl.mask import MASK, Mask
from lastgood.settings import Settings

LIMIT: Final = 64 * 1024
_HEAD: Final = 16 * 1024  # why something failed stands rather at the end
_TAIL: Final = LIMIT - _HEAD - 128
_FROM_ENVIRONMENT: Final = "env:"
_LINE: Final = 4096  # how far from a cut the end of a line is looked for
_WORD: Final = 256

_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]{0,32}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,500}(?:\x07|\x1b\\)|[@-Z\\-_])")
# NUL cannot be stored in PostgreSQL; the others do things to a terminal.
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# `NAME=value` as `env` and `set -x` print it; `Name: value` as headers and YAML stand.
_EQUALS: Final = re.compile(r"(?<![A-Za-z_-])(?P<name>[A-Za-z_][\w.-]{0,100})=(?P<value>[^\s\"'&;,)]+)")
_COLON: Final = re.compile(
    r"^(?P<before>[ \t]{0,40}(?P<name>[\w.-]{1,100})[ \t]{0,4}:[ \t]{0,4})(?P<value>\S.*)$", re.MULTILINE
)
# Words of a name that variables have without a space between, as in PGPASSWORD.
_SECRET_END: Final = re.compile(r"(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|APIKEY)\Z")
_REST_OF_KEY: Final = re.compile(r"\A(?:(?!-----BEGIN)[\s\S])*?-----END [A-Z ]{0,40}PRIVATE KEY-----")


class Output:
    """Takes what a command prints, however much; keeps no more than `LIMIT` of it."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._bytes = 0

    def add(self, data: bytes) -> None:
        """The next piece."""
        self._bytes += len(data)
        room = _HEAD - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 2 * _TAIL:
            del self._tail[:-_TAIL]

    def text(self, mask: Mask) -> str:
        """All of it, or its beginning and end and how much was left out between; at most `LIMIT` characters."""
        if self._bytes <= _HEAD + _TAIL:
            return _fitting(masked((self._head + self._tail).decode(errors="replace"), mask))
        head = self._head.decode(errors="replace")
        tail = self._tail[-_TAIL:].decode(errors="replace")
        head, tail = mask.uncut(_to_line_end(head), _from_line_start(tail))
        tail = _REST_OF_KEY.sub(HIDDEN, tail)
        left_out = f"… {self._bytes - _HEAD - _TAIL:,} bytes are left out here …"
        return _fitting(f"{masked(head, mask)}\n{left_out}\n{masked(tail, mask)}")


def masked(text: str, mask: Mask) -> str:
    """`text` to be shown and kept: without the secrets that `mask` knows, what looks like one, and control
    characters."""
    text = _ESCAPES.sub("", mask.text(text)).replace("\r\n", "\n").replace("\r", "\n")
    text = shown_text(_CONTROLS.sub("\ufffd", text))
    for pattern in (_EQUALS, _COLON):
        text = pattern.sub(_hidden_value, text)
    return text


def server_secrets(settings: Settings) -> tuple[str, ...]:
    """The secret values that the settings hold: tokens, and the passwords in addresses."""
    checks = (check.url for check in settings.data_checks.values())
    urls = [settings.database, *checks, *(one.url for one in settings.middleware.values())]
    found = [
        settings.token,
        settings.llm_api_key,
        settings.alert_webhook,
        settings.break_glass_url,
        *map(_password, urls),
    ]
    for hook in settings.hooks.values():
        found += named_secrets(hook.environment.items())
    return tuple(value for value in found if value)


def named_secrets(variables: Iterable[tuple[str, str]]) -> list[str]:
    """The values of those `variables` whose name says that they are secret."""
    return [value for name, value in variables if value and _is_secret(name)]


def _is_secret(name: str) -> bool:
    return secret_name(name) or _SECRET_END.search(name) is not None


def _password(url: str) -> str:
    if url.startswith(_FROM_ENVIRONMENT):
        url = os.environ.get(url.removeprefix(_FROM_ENVIRONMENT), "")
    try:
        return str(make_url(url).password or "")
    except ArgumentError:  # empty, or no address
        return ""


def _hidden_value(found: re.Match[str]) -> str:
    if not _is_secret(found["name"]) or found["value"].startswith((HIDDEN[:-1], MASK)):
        return found[0]
    return found[0][: found.start("value") - found.start()] + HIDDEN


def _to_line_end(head: str) -> str:
    """`head` up to the last end of a line, where one is near; else without the word that the cut may have broken."""
    end = head.rfind("\n", -_LINE)
    return head[:end] if end >= 0 else head[:-_WORD]


def _from_line_start(tail: str) -> str:
    start = tail.find("\n", 0, _LINE)
    return tail[start + 1 :] if start >= 0 else tail[_WORD:]


def _fitting(text: str) -> str:
    """`text` within the limit also where masks made it longer. Nothing that is cut here is secret."""
    if len(text) <= LIMIT:
        return text
    return f"{text[:_HEAD]}\n… {len(text) - _HEAD - _TAIL:,} characters are left out here …\n{text[-_TAIL:]}"
