"""Events pushed over HTTP, signed as Standard Webhooks say: ``webhook-id``, ``webhook-timestamp`` and
``webhook-signature`` (``v1,`` and the base64 of the HMAC-SHA256 of ``id.timestamp.body``; several with spaces, while
a secret is being changed). A message that comes again under its id gets the first answer, and changes nothing.

Source: the Standard Webhooks specification 1.0."""

import base64
import binascii
import hmac
import json
import secrets
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import bindparam, delete, insert, select

from lastgood.access.sync import dead, events, sources
from lastgood.access.sync.events import Around
from lastgood.access.sync.intake import Intake
from lastgood.access.sync.kafka import rules_of
from lastgood.access.sync.librdkafka import from_environment
from lastgood.catalogue import GrantSource
from lastgood.db import audit, envelope
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx, parse_time, utc_text
from lastgood.errors import InvalidSetting, MalformedEvent, Unauthenticated

WINDOW: Final = 300  # seconds by which a message's time may be off
MOST_EVENTS: Final = 1000
MOST_BYTES: Final = 2 * 2**20
_PREFIX: Final = "whsec_"
_LONGEST_ID: Final = 255
_KEPT: Final = timedelta(days=7)  # longer than senders try again

_P = t.pushed
_SEEN = select(_P.c.answer).where(_P.c.source_pk == bindparam("source"), _P.c.id == bindparam("message"))
_INSERT = insert(_P)
_FORGET = delete(_P).where(_P.c.at < bindparam("before"))


def new_secret(tx: Tx, who: Principal, name: str) -> str:
    """A new secret of the source `name` in place of the old one, kept sealed; to be shown once."""
    secret = _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
    source = sources.ensure(tx, name, "push")
    sources.note(tx, source, sealed=envelope.seal(tx, secret, _context(name)))
    audit.append(tx, who, "access:secret", f"access/{name}")
    return secret


def secret_of(tx: Tx, name: str, setting: GrantSource) -> bytes:
    """The key that messages of the source are signed with. Raises `InvalidSetting` where there is none,
    `Unsealable`."""
    if setting.secret:
        return _key(from_environment(setting.secret, f"grants.{name}.secret"), name)
    found = next((one for one in sources.listing(tx) if one.name == name and one.sealed), None)
    if found is None or found.sealed is None:
        reason = f"there is none; `lastgood acl secret {name}` makes one"
        raise InvalidSetting(name=f"grants.{name}.secret", value="", reason=reason)
    return _key(envelope.unseal(tx, found.sealed, _context(name)), name)


def verify(key: bytes, headers: Mapping[str, str], body: bytes, now: float) -> str:
    """The id of the message in `body`, when it is signed with `key` and is of now. Raises `Unauthenticated`."""
    message, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    signed = f"{message}.{stamp}.".encode() + body
    expected = base64.b64encode(hmac.digest(key, signed, "sha256"))
    shown = [one.partition(",") for one in headers.get("webhook-signature", "").split()[:10]]
    good = [
        scheme == "v1" and hmac.compare_digest(signature.encode("utf-8", "replace"), expected)
        for scheme, _, signature in shown
    ]
    timely = stamp.isascii() and stamp.isdigit() and len(stamp) <= 12 and abs(int(stamp) - now) <= WINDOW
    if not (any(good) and timely and 0 < len(message) <= _LONGEST_ID and message.isprintable()):
        raise Unauthenticated()
    return message


def sign(key: bytes, message: str, at: int, body: bytes) -> dict[str, str]:
    """The headers of a signed message, as a sender makes them."""
    signature = base64.b64encode(hmac.digest(key, f"{message}.{at}.".encode() + body, "sha256")).decode()
    return {"webhook-id": message, "webhook-timestamp": str(at), "webhook-signature": f"v1,{signature}"}


def take_in(
    tx: Tx, who: Principal, name: str, setting: GrantSource, message: str, headers: Mapping[str, str], body: bytes
) -> dict[str, Any]:
    """Take the events of a message in; the answer says what came of each, in their order. Raises `MalformedEvent`
    where the message as a whole cannot be read."""
    sources.ensure(tx, name, setting.kind)
    source = sources.hold(tx, name)
    seen: str | None = tx.connection.execute(_SEEN, {"source": source.pk, "message": message}).scalar()
    if seen is not None:
        return {**json.loads(seen), "repeated": True}
    number = int(source.position.get("next", 0))
    around = Around(headers={one: value for one, value in headers.items() if one.startswith("ce-")})
    rules = rules_of(setting)
    results: list[dict[str, Any]] = []
    read = []
    bodies = events.each(body, headers, MOST_EVENTS)
    for index, one in enumerate(bodies):
        results.append({"index": index})
        try:
            event = events.read(one, rules, around)
        except MalformedEvent as error:
            dead.keep(tx, name, f"{message[:200]}/{index}", number + index, one, around, str(error))
            results[index] |= {"outcome": "malformed", "reason": str(error)}
        else:
            read.append((index, ((event.at, number + index), event)))
    outcomes = Intake(tx, who, name).take([stamped for _, stamped in read])
    for (index, _), outcome in zip(read, outcomes, strict=True):
        results[index]["outcome"] = outcome
    counts = Counter(one["outcome"] for one in results)
    position = {"next": number + len(bodies), "counts": sources.counted(source.position, counts)}
    sources.move(tx, source, position)
    answer = {"id": message, "results": results, "counts": dict(counts)}
    row = {"source_pk": source.pk, "id": message, "at": tx.now, "answer": json.dumps(answer)}
    tx.connection.execute(_INSERT, row)
    tx.connection.execute(_FORGET, {"before": utc_text(parse_time(tx.now) - _KEPT)})
    return {**answer, "repeated": False}


def _key(secret: str, name: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < 16:
        reason = "it is not whsec_ and the base64 of 16 bytes or more"
        raise InvalidSetting(name=f"grants.{name}.secret", value="…", reason=reason)
    return key


def _context(name: str) -> str:
    return f"grants/{name}"
