"""`lastgood ring`: the keys that everything secret rests on. On the server's machine only: it works on the ring and
the store themselves, and a running server learns of it by itself."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lastgood.cli import output
from lastgood.cli.commands import add, group
from lastgood.cli.parameters import Json

if TYPE_CHECKING:
    from lastgood.db.audit import Principal
    from lastgood.db.store import Store

ring = group(help="The keys that secrets rest on. On the server's machine only.", no_args_is_help=True)
Purpose = Annotated[
    Literal["seal", "lookup", "log"],
    typer.Option("--purpose", metavar="seal|lookup|log", help="Which key; `seal` is what secrets rest on."),
]


def status(as_json: Json = False) -> None:
    """List the keys of the ring, without themselves, and what needs each of them.

    \b
    Examples:
      lastgood ring status
    """
    from lastgood.db import rotation

    with _store() as (store, _):
        found = rotation.status(store)
    if as_json:
        output.print_json(found)
        return
    rows = [
        (
            one["id"],
            one["purpose"],
            one["created_at"][:10],
            output.Cell("newest", "green") if one["newest"] else "older",
            "; ".join(one["needed_by"]) or "nothing: it can be retired",
        )
        for one in found["keys"]
    ]
    output.table(("key", "purpose", "made", "", "needed by"), rows)
    output.write(f"{output.count(found['data_keys'], 'data key')}; the ring is {found['source']}")
    if found["problem"]:
        output.warn(f"lastgood: it is not changed from here: {found['problem']}.")
    if found["unfinished"]:
        output.warn("lastgood: a rotation was cut off; `lastgood ring rotate` finishes it.")


def rotate(purpose: Purpose = "seal", as_json: Json = False) -> None:
    """Add a key to the ring and wrap the data keys under it. No secret is rewritten, and nothing is stopped for it.

    The older key stays until it is retired. One that was cut off is finished by the next, which adds no other key.

    \b
    Examples:
      lastgood ring rotate
      lastgood ring rotate --purpose lookup
    """
    from lastgood.db import rotation
    from lastgood.history import triggers

    with _store() as (store, who):
        done = rotation.rotate(store, who, purpose)
        webhooks = store.write(triggers.rehash) if purpose == "lookup" else 0
    if as_json:
        output.print_json({"purpose": done.purpose, "added": done.added, "wrapped": done.wrapped})
        return
    said = f"{done.added} is the newest key" if done.added else "the rotation that was cut off is finished"
    more = {
        "seal": f"; {output.count(done.wrapped, 'data key')} wrapped again, no secret rewritten",
        "lookup": f"; {output.count(webhooks, 'webhook')} known by it, app keys and tokens when they come again",
    }
    output.write(said + more.get(purpose, ""))


def retire(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Id of the key, as `ring status` lists it.")],
) -> None:
    """Take an older key out of the ring, once nothing needs it; else say what does, and change nothing.

    What the ring held before lies beside it, with .bak after its name, until the next change: remove that too.

    \b
    Examples:
      lastgood ring retire s3f9a01bc
    """
    from lastgood.db import rotation

    with _store() as (store, who):
        rotation.retire(store, who, key)
        source = store.ring.source.name
    output.write(f"{key} is out of {source}.")


def key(purpose: Purpose = "seal") -> None:
    """Print a fresh entry for a ring that is kept elsewhere, in LASTGOOD_KEYRING or a vault. It is kept nowhere here.

    \b
    Examples:
      lastgood ring key
    """
    from lastgood.db.ring import entry

    output.write(json.dumps(entry(purpose)))


@contextmanager
def _store() -> Iterator[tuple["Store", "Principal"]]:
    from lastgood.cli.client import actor
    from lastgood.db.audit import Principal
    from lastgood.db.store import open_store
    from lastgood.settings import load

    store = open_store(load())
    try:
        yield store, Principal(actor(), kind="local")
    finally:
        store.close()


add(ring, {"status": status, "rotate": rotate, "retire": retire, "key": key}, "Commands")
