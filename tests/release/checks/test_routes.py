"""App keys lead to what the channel points to."""

from dataclasses import replace

from lastgood.db import tables
from lastgood.db.store import Store
from lastgood.history import keys
from lastgood.release.checks import routes
from support.scene import ALICE

from .conftest import Served, only, serve


def key(served: Served, name: str, channel: str = "live") -> str:
    place = served.place
    return str(place.store.write(lambda tx: keys.create(tx, ALICE, place.workflow, name=name, channel=channel))["id"])


def revoke(served: Served, name: str) -> None:
    served.place.store.write(lambda tx: keys.revoke(tx, ALICE, served.place.workflow, name))


def test_each_key_leads_to_the_version_and_generation(store: Store) -> None:
    served = serve(store)
    key(served, "web")
    key(served, "app")
    key(served, "old")
    revoke(served, "old")
    one = only(routes.check(served.case()))
    assert (one.verdict, one.found) == ("pass", "2 of 2 app keys do")
    served = served.publish("another")
    assert only(routes.check(served.case())).verdict == "pass"


def test_a_key_that_leads_elsewhere_is_named(store: Store) -> None:
    served = serve(store)
    id = key(served, "web")
    case = served.case()
    newer = served.publish("another")
    one = only(routes.check(case))
    assert one.verdict == "fail"
    assert one.found == f"web ({id}) leads to {newer.version.id} at generation 2"
    assert only(routes.check(replace(newer.case(), generation=3))).verdict == "fail"


def test_keys_of_other_channels_and_workflows_do_not_count(store: Store) -> None:
    served, other = serve(store), serve(store, slug="other")
    key(served, "test", "staging")
    key(other, "web")
    one = only(routes.check(served.case()))
    assert (one.verdict, one.found) == ("skipped", "no app key leads to this channel")


def test_only_revoked_keys_are_no_way_in(store: Store) -> None:
    served = serve(store)
    key(served, "web")
    revoke(served, "web")
    assert only(routes.check(served.case())).verdict == "skipped"


def test_a_route_that_is_out_of_step_with_its_key_is_found(store: Store) -> None:
    """What the gateway reads and what the key says can only differ where a row was changed by hand."""
    served = serve(store)
    id = key(served, "web")
    store.write(lambda tx: tx.connection.execute(tables.app_key.update().values(revision=0)))
    store.write(lambda tx: tx.connection.execute(tables.channel.update().values(revision=0)))
    one = only(routes.check(served.case()))
    assert (one.verdict, one.found) == ("fail", f"web ({id}) leads nowhere")
