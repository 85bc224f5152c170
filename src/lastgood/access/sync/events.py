"""What a source says of a person's role, as events: read from bytes, and what a set of them comes to.

An event is ``{"user_id", "role", "action": "add"|"update"|"revoke", "timestamp", "resource"}``; the timestamp is Unix
seconds, the resource ``*`` where it is left out. It comes bare or as a CloudEvent (1.0, JSON), structured or binary;
forms and header names are those of the CloudEvents bindings for Kafka and HTTP.

What a set of events comes to does not depend on the order in which they arrive, only on their stamps (time, then
place): `add` lets its user have the role on the resource from its stamp on; `revoke` takes that away, without a
resource the role wherever the user has it, without a role everything; `update` makes its role the only one that the
user has. `fold` says so in the shortest way, and is what the tests hold the store to."""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

import orjson

from lastgood.access import rules as patterns
from lastgood.access.grants import Stamp
from lastgood.errors import InvalidRequest, MalformedEvent

type Action = Literal["add", "update", "revoke"]
type Had = tuple[str, str, str]  # subject, role, resource

MOST_BYTES: Final = 64 * 1024
EVERYTHING: Final = ""  # in place of a role or a resource of a revoke: whatever it is
_ACTIONS: Final = ("add", "update", "revoke")
_LONGEST_USER, _LONGEST_ROLE, _LONGEST_RESOURCE = 255, 63, 255
_RESERVED: Final = frozenset({"local"})
_STRUCTURED: Final = "application/cloudevents+json"
_BATCH: Final = "application/cloudevents-batch+json"
_JSON: Final = re.compile(r"application/(?:[\w.+-]+\+)?json\b")
_ATTRIBUTES: Final = ("id", "source", "type")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `role` and `resource` of a revoke may be `EVERYTHING`."""

    user: str
    action: Action
    role: str
    resource: str
    at: int


@dataclass(frozen=True, slots=True)
class Around:
    """What comes with the bytes of an event: the record's key, its headers (names in lower case), and its time in
    Unix milliseconds."""

    key: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What a source may say: `roles` maps its roles to ours (empty: they are the same), and no event's time lies more
    than `future` seconds after `now`, since it would win over everything that comes until then."""

    now: int
    future: int = 24 * 3600
    roles: Mapping[str, str] = field(default_factory=dict)


def read(body: bytes | None, rules: Rules, around: Around | None = None) -> Event:
    """The event in `body`; None is a tombstone, by which a compacted topic says that the user of its key has nothing
    any more. Raises `MalformedEvent`."""
    around = around or Around()
    attributes = _attributes(around.headers)
    if body is None or (not body and attributes):
        return _tombstone(around, attributes, rules)
    if len(body) > MOST_BYTES:
        raise MalformedEvent(reason=f"it has {len(body)} bytes, more than {MOST_BYTES}")
    content_type = around.headers.get("content-type", "").lower()
    if attributes and content_type and not _JSON.match(content_type):
        raise MalformedEvent(reason=f"its data is {content_type[:60]!r}, not JSON")
    data = _json(body)
    if not attributes and (
        content_type.startswith(_STRUCTURED) or (isinstance(data, dict) and "specversion" in data)
    ):
        attributes, data = _opened(data)
    return _event(data, attributes, rules)


def each(body: bytes, headers: Mapping[str, str], most: int) -> list[bytes]:
    """The events of a pushed body, one by one: one, a JSON list of them, or ``{"events": […]}``. Raises
    `MalformedEvent` where it is no batch though its type says so, or holds more than `most`. What is no JSON is one
    event, which cannot be read."""
    if _attributes(headers):
        return [body]
    try:
        data = _json(body)
    except MalformedEvent:
        return [body]
    found = data.get("events") if isinstance(data, dict) and isinstance(data.get("events"), list) else data
    if headers.get("content-type", "").lower().startswith(_BATCH) and not isinstance(data, list):
        raise MalformedEvent(reason="a batch of CloudEvents is a JSON list")
    if not isinstance(found, list):
        return [body]
    if len(found) > most:
        raise MalformedEvent(reason=f"it holds {len(found)} events, more than {most}")
    return [written(one) for one in found]


def written(one: Any) -> bytes:
    """An event of a list, as bytes of its own; orjson reads more deeply than it writes."""
    return json.dumps(one, ensure_ascii=False, separators=(",", ":")).encode()


def fold(events: Iterable[tuple[Stamp, Event]]) -> set[Had]:
    """Who has what after all `events`, by their stamps, whatever their order here."""
    have: dict[str, set[tuple[str, str]]] = {}
    for _, event in sorted(events, key=lambda one: one[0]):
        theirs = have.setdefault(event.user, set())
        if event.action == "update":
            theirs.clear()
        if event.action != "revoke":
            theirs.add((event.role, event.resource))
            continue
        theirs -= {
            one for one in theirs if event.role in (EVERYTHING, one[0]) and event.resource in (EVERYTHING, one[1])
        }
    return {(user, *one) for user, theirs in have.items() for one in theirs}


def check_role(value: Any, roles: Mapping[str, str]) -> str:
    """Our role for the source's. Raises `MalformedEvent`."""
    role = _word(value, "role", _LONGEST_ROLE)
    if roles and role not in roles:
        raise MalformedEvent(reason=f"the role {role!r} is not among the roles that this source may give")
    return roles.get(role, role)


def check_user(value: Any) -> str:
    """The subject of a user id. Raises `MalformedEvent`."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    user = _word(value, "user_id", _LONGEST_USER)
    if ":" in user or user in _RESERVED:
        raise MalformedEvent(reason=f"user_id {user!r} names no person: it must not hold `:`, nor be `local`")
    return user


def check_resource(value: Any) -> str:
    """A resource pattern. Raises `MalformedEvent`."""
    resource = _word(value, "resource", _LONGEST_RESOURCE)
    try:
        return patterns.check_resource(resource)
    except InvalidRequest:
        raise MalformedEvent(reason=f"resource {resource!r} is neither `*` nor like `workflow:prod-*`") from None


def _event(data: Any, attributes: Mapping[str, str], rules: Rules) -> Event:
    if not isinstance(data, dict):
        raise MalformedEvent(reason="it is not a JSON object")
    action = data.get("action")
    if action not in _ACTIONS:
        raise MalformedEvent(reason=f"action is {_shown(action)}, not add, update or revoke")
    user = check_user(data.get("user_id"))
    wide = action == "revoke"
    role, resource = data.get("role"), data.get("resource")
    return Event(
        user,
        action,
        EVERYTHING if wide and role in (None, "") else check_role(role, rules.roles),
        (EVERYTHING if wide else "*") if resource in (None, "") else check_resource(resource),
        _time(data.get("timestamp"), attributes, rules),
    )


def _tombstone(around: Around, attributes: Mapping[str, str], rules: Rules) -> Event:
    if not around.key:
        raise MalformedEvent(reason="it has no data, and no key that says whose roles end")
    try:
        user = check_user(around.key.decode())
    except UnicodeDecodeError:
        raise MalformedEvent(reason="its key is not UTF-8") from None
    at = None if around.at_ms is None or "time" in attributes else around.at_ms // 1000
    return Event(user, "revoke", EVERYTHING, EVERYTHING, _time(at, attributes, rules))


def _time(value: Any, attributes: Mapping[str, str], rules: Rules) -> int:
    if value is None and _TIME.fullmatch(attributes.get("time", "")):
        try:
            value = int(datetime.fromisoformat(attributes["time"].upper()).timestamp())
        except (ValueError, OverflowError):
            value = None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise MalformedEvent(reason=f"timestamp is {_shown(value)}, not Unix seconds")
    if value > rules.now + rules.future:
        hint = "; it looks like milliseconds" if value > 100 * rules.now else ""
        reason = f"timestamp {value} lies more than {rules.future / 3600:g} h in the future{hint}"
        raise MalformedEvent(reason=reason)
    return value


def _attributes(headers: Mapping[str, str]) -> dict[str, str]:
    """The attributes of a binary CloudEvent, empty where it is none. Raises `MalformedEvent`."""
    prefix = next((one for one in ("ce_", "ce-") if f"{one}specversion" in headers), None)
    if prefix is None:
        return {}
    return _checked({name.removeprefix(prefix): value for name, value in headers.items() if name.startswith(prefix)})


def _opened(envelope: Any) -> tuple[dict[str, str], Any]:
    """The attributes and the data of a structured CloudEvent."""
    if not isinstance(envelope, dict):
        raise MalformedEvent(reason="it is not a JSON object")
    attributes = _checked({name: value for name, value in envelope.items() if isinstance(value, str)})
    if "data_base64" in envelope:
        try:
            return attributes, _json(base64.b64decode(str(envelope["data_base64"]), validate=True))
        except (binascii.Error, ValueError):
            raise MalformedEvent(reason="data_base64 is not base64") from None
    return attributes, envelope.get("data")


def _checked(attributes: dict[str, str]) -> dict[str, str]:
    if attributes.get("specversion") != "1.0":
        raise MalformedEvent(reason=f"it is a CloudEvent of version {_shown(attributes.get('specversion'))}, not 1.0")
    missing = [name for name in _ATTRIBUTES if not attributes.get(name)]
    if missing:
        raise MalformedEvent(reason=f"the CloudEvent has no {' and no '.join(missing)}")
    return attributes


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise MalformedEvent(reason="it is not JSON") from None


def _word(value: Any, name: str, most: int) -> str:
    if not isinstance(value, str) or not value:
        raise MalformedEvent(reason=f"{name} is {_shown(value)}, not a text")
    if len(value) > most:
        raise MalformedEvent(reason=f"{name} has {len(value)} characters, more than {most}")
    if not value.isprintable() or value != value.strip():
        raise MalformedEvent(reason=f"{name} holds characters that cannot be shown, or a space at an end")
    return value


def _shown(value: Any) -> str:
    return "missing" if value is None else ascii(value)[:60]
