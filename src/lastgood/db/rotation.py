"""New keys for old: a rotation adds a key to the ring and wraps the data keys under it; a retirement takes an old key
out once nothing needs it.

```
ring: add the key ──> store: wrap every data key under it, begin a new one ──> (any day) ring: drop the old key
```
Each step is whole or not at all. A rotation that was cut off between its two steps is finished by the next one."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import bindparam, func, select, update

from lastgood.db import audit, envelope
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.ring import KeyRing
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import KeyNeeded, RingReadOnly, UnknownRingKey

Rotated = Literal["seal", "lookup", "log"]
_D = t.data_key
_WRAPPED = select(_D.c.id, _D.c.ring_key, _D.c.wrapped)
_IDS = select(_D.c.id)
_REWRAP = (
    update(_D)
    .where(_D.c.id == bindparam("data_key"), _D.c.ring_key == bindparam("from_key"))
    .values(ring_key=bindparam("to_key"), wrapped=bindparam("bytes"))
)
_HASHED: Final = {
    "app key": select(t.app_key.c.hash).where(t.app_key.c.revoked_at.is_(None)),
    "token": select(t.token.c.hash),
    "session": select(t.session.c.hash),
    "webhook": select(t.trigger.c.hash).where(t.trigger.c.hash.is_not(None)),
}


@dataclass(frozen=True, slots=True)
class Done:
    """What a rotation did: the key that it added (None: it finished an earlier one), and how many data keys it
    wrapped."""

    purpose: str
    added: str | None
    wrapped: int


def status(store: Store) -> dict[str, Any]:
    """The ring as JSON values, without a key: each entry with what needs it, and whether a rotation waits for its
    end."""
    store.ring.reread()
    with store.read() as tx:
        keys = [
            {
                **entry,
                "newest": store.ring.newest(entry["purpose"]) == entry["id"],
                "needed_by": needs(tx, entry["id"]),
            }
            for entry in store.ring.entries()
        ]
        data_keys = tx.connection.execute(select(func.count()).select_from(_D)).scalar_one()
        unfinished = _is_unfinished(tx)
    return {
        "source": store.ring.source.name,
        "problem": store.ring.source.problem(),
        "keys": keys,
        "data_keys": data_keys,
        "unfinished": unfinished,
    }


def rotate(store: Store, who: Principal, purpose: Rotated = "seal") -> Done:
    """Add a key, and wrap the data keys under it; or finish a rotation that was cut off. A new data key begins too,
    so that what is sealed from now on has never lain under the old key. Raises `RingReadOnly`."""
    ring = store.ring
    ring.reread()
    if purpose == "seal":
        with store.read() as tx:
            unfinished = _is_unfinished(tx)
        added = None if unfinished else ring.add("seal")
        return Done(purpose, added, store.write(lambda tx: _wrap(tx, who, ring)))
    added = ring.add(purpose)
    store.write(lambda tx: audit.append(tx, who, "ring:rotate", f"ring/{added}", purpose=purpose))
    return Done(purpose, added, 0)


def retire(store: Store, who: Principal, id: str) -> None:
    """Take an old key out of the ring. Raises `UnknownRingKey`, `KeyNeeded` with what needs it, `RingReadOnly`."""
    ring = store.ring
    ring.reread()
    entry = next((one for one in ring.entries() if one["id"] == id), None)
    if entry is None:
        raise UnknownRingKey(key=id, path=ring.source.name)
    if problem := ring.source.problem():
        raise RingReadOnly(path=ring.source.name, reason=problem)

    def work(tx: Tx) -> None:
        if needed := needs(tx, id):
            raise KeyNeeded(key=id, purpose=entry["purpose"], reasons="; ".join(needed))
        # Written before the key goes: a key that went without a word would be worse than a word too many.
        audit.append(tx, who, "ring:retire", f"ring/{id}", purpose=entry["purpose"])

    store.write(work)
    ring.drop(id)


def needs(tx: Tx, id: str) -> list[str]:
    """What needs the key `id` of the ring, in a few words each; nothing where it can go."""
    ring = tx.ring
    purpose = next(one["purpose"] for one in ring.entries() if one["id"] == id)
    found = [f"it is the one that {purpose} writes with"] if ring.newest(purpose) == id else []
    if purpose == "seal":
        rows = tx.connection.execute(_WRAPPED).all()
        wrapped = sum(row.ring_key == id for row in rows)
        if wrapped:
            found.append(f"{_counted(wrapped, 'data key')} wrapped under it (`lastgood ring rotate`)")
        elif not found and all(row.id != id for row in rows):
            found.append("what an earlier release sealed under it (`lastgood ring rotate` takes it over)")
    elif purpose == "lookup":
        for what, statement in _HASHED.items():
            hashes = [bytes(one) for one in tx.connection.execute(statement).scalars()]
            count = sum(ring.lookup_id(one) == id for one in hashes)
            if count:
                found.append(f"{_counted(count, what)} known by it, until each is used again or made anew")
    elif purpose == "log" and not found:
        found.append("checkpoints that it signed")
    return found


def _is_unfinished(tx: Tx) -> bool:
    """Whether a data key is wrapped under an older key than the newest, or an older one is not taken over yet."""
    ring = tx.ring
    rows = tx.connection.execute(_WRAPPED).all()
    older = set(ring.of("seal")) - {ring.newest("seal")}
    return any(row.ring_key != ring.newest("seal") for row in rows) or bool(older - {row.id for row in rows})


def _wrap(tx: Tx, who: Principal, ring: KeyRing) -> int:
    newest = ring.newest("seal")
    rows = tx.connection.execute(_WRAPPED.with_for_update()).all()
    for row in rows:
        if row.ring_key != newest:
            to_key, wrapped = ring.wrap(row.id, ring.unwrap(row.id, row.ring_key, bytes(row.wrapped)))
            values = {"data_key": row.id, "from_key": row.ring_key, "to_key": to_key, "bytes": wrapped}
            tx.connection.execute(_REWRAP, values)
    held = {row.id for row in rows}
    for id in ring.of("seal"):
        raw = ring.raw(id)
        if id != newest and id not in held and raw is not None:
            envelope.keep(tx, id, raw)
    envelope.add(tx)
    audit.append(tx, who, "ring:rotate", f"ring/{newest}", purpose="seal", wrapped=len(rows))
    return len(rows)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun} is" if number == 1 else f"{number} {noun}s are"
