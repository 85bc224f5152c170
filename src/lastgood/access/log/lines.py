"""How an audit row is shown: one line for people, CSV for spreadsheets. Pure functions on its facts."""

import csv
import io
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

COLUMNS = (
    *("place", "code", "at", "actor", "kind", "action", "resource", "result", "reason"),
    *("request_id", "address", "method", "path"),
)
_READING = ("GET", "HEAD", "OPTIONS")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_SAFE = "!$&'()*+,-./:;=?@_~%#[]{}|^\\\"<>`"


def subject(facts: Mapping[str, Any]) -> str:
    """Who it was, as grants call them: ``u1002``, ``token:ci``, ``service:guard``, and ``local:alice``."""
    kind, name = str(facts.get("kind") or "person"), str(facts.get("actor") or "")
    return name if kind == "person" else f"{kind}:{name}"


def verb(facts: Mapping[str, Any]) -> str:
    """What was done, in one word: READ for a GET (EXPORT where the action is one), DELETE for a DELETE, else what the
    action says after its first colon: PUBLISH, ROLLBACK, GRANT."""
    method, word = str(facts.get("method") or ""), str(facts.get("action") or "").split(":")[1:2]
    said = word[0].upper() if word and word[0] else "DO"
    if method in _READING:
        return said if said == "EXPORT" else "READ"
    return "DELETE" if method == "DELETE" else said


def line(facts: Mapping[str, Any], *, wide: bool = False) -> str:
    """Five fields with one space between: the time (UTC, to the millisecond), who, what, on what, and how it went:
    ``2026-11-30T09:00:00.123Z u1002 READ /v1/workflows/prod-invoice allowed``. On what is the request's path, else
    the resource. Spaces and control characters in a field are written ``%20``, so that no name can make up a field
    or a line. `wide` adds the code, the place and, quoted, the reason."""
    at = str(facts["at"])
    where = str(facts.get("path") or facts.get("resource") or "-")
    fields = [f"{at[:23]}Z" if len(at) > 23 else at, subject(facts) or "-", verb(facts), where, str(facts["result"])]
    plain = [_word(field) for field in fields]
    if wide:
        place = facts.get("place")
        plain += [str(facts.get("code") or "-"), "-" if place is None else str(place)]
        plain.append(json.dumps(str(facts.get("reason") or ""), ensure_ascii=True))
    return " ".join(plain)


def line_of(sealed: bytes) -> str:
    """The line of a row's sealed bytes; empty for bytes that somebody changed into none of a row."""
    try:
        return line(json.loads(sealed))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""


def csv_head() -> str:
    """The line of column names."""
    return _csv([*COLUMNS, "facts"])


def csv_line(facts: Mapping[str, Any]) -> str:
    """A row as CSV (RFC 4180). What a spreadsheet would take for a formula gets an apostrophe before it; facts that
    only some rows have are JSON in the last column."""
    more = {name: value for name, value in facts.items() if name not in (*COLUMNS, "subject")}
    known = ["" if facts.get(name) is None else str(facts[name]) for name in COLUMNS]
    return _csv([*(_guarded(value) for value in known), json.dumps(more, sort_keys=True) if more else ""])


def _csv(fields: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(fields)
    return out.getvalue()


def _guarded(value: str) -> str:
    plain = "".join(c if c.isprintable() else quote(c) for c in value)
    return f"'{plain}" if value.startswith(_FORMULA) or plain.lstrip().startswith(_FORMULA) else plain


def _word(text: str) -> str:
    return "".join(c if c.isprintable() and not c.isspace() else quote(c, safe=_SAFE) for c in text)
