"""What the gateway learns: reading only what changed gives the same as reading everything."""

import random
from contextlib import suppress

import pytest

from lastgood.db.store import Store
from lastgood.errors import ChannelMoved, InvalidRequest
from lastgood.history import channels, keys, workflows
from lastgood.history.routes import Route, key_hash, read_changes
from support.scene import ALICE, Scene, scene


class Reader:
    """A gateway's table, kept up by reading what changed."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.revision = 0
        self.routes: dict[bytes, Route] = {}

    def catch_up(self) -> int:
        """Read what is new; gives how many keys that concerned."""
        with self.store.read() as tx:
            changes = read_changes(tx.connection, self.revision)
        for hashed, route in changes.keys.items():
            if route is None:
                self.routes.pop(hashed, None)
            else:
                self.routes[hashed] = route
        self.revision = changes.revision
        return len(changes.keys)


def everything(store: Store) -> dict[bytes, Route]:
    reader = Reader(store)
    reader.catch_up()
    return reader.routes


def key_id(place: Scene) -> str:
    with place.store.read() as tx:
        (held,) = keys.listing(tx, place.workflow)
    return str(held["id"])


def key(place: Scene, name: str = "web", channel: str = "live", value: str | None = None) -> str:
    made = place.store.write(lambda tx: keys.create(tx, ALICE, place.workflow, name=name, channel=channel, key=value))
    return str(made["key"])


def route(reader: Reader, value: str) -> Route | None:
    return reader.routes.get(key_hash(reader.store.ring.lookup_key, value))


@pytest.fixture
def place(store: Store) -> Scene:
    return scene(store)


def test_a_key_leads_to_its_workflow_channel_version_and_target(place: Scene) -> None:
    (version,) = place.versions("a")
    value = key(place)
    place.move(version)
    reader = Reader(place.store)
    reader.catch_up()
    found = route(reader, value)
    assert found == Route(
        workflow_id=place.workflow.id,
        slug="greet",
        mode="workflow",
        channel="live",
        version_id=version.id,
        generation=1,
        placement_id=version.id,
        target="dify",
        upstreams=("http://127.0.0.1:9",),
        key_id=key_id(place),
    )


def test_a_key_of_a_channel_that_points_nowhere_says_so(place: Scene) -> None:
    value = key(place, channel="staging")
    reader = Reader(place.store)
    reader.catch_up()
    found = route(reader, value)
    assert found is not None
    assert (found.channel, found.version_id, found.generation) == ("staging", None, 0)


def test_the_embedded_engine_has_no_address_here(store: Store) -> None:
    place = scene(store, target="engine")
    value = key(place)
    reader = Reader(store)
    reader.catch_up()
    found = route(reader, value)
    assert found is not None
    assert (found.target, found.upstreams) == ("engine", ())


def test_nothing_new_is_nothing_to_read(place: Scene) -> None:
    key(place)
    reader = Reader(place.store)
    assert reader.catch_up() == 1
    assert reader.catch_up() == 0


def test_only_the_keys_of_a_moved_channel_are_read(place: Scene) -> None:
    one, two = place.versions("a", "b")
    live, staging = key(place), key(place, channel="staging")
    place.move(one)
    place.move(one, name="staging")
    reader = Reader(place.store)
    reader.catch_up()
    place.move(two)
    assert reader.catch_up() == 1
    moved, still = route(reader, live), route(reader, staging)
    assert moved is not None
    assert still is not None
    assert (moved.version_id, moved.generation) == (two.id, 2)
    assert (still.version_id, still.generation) == (one.id, 1)


def test_what_is_no_move_is_not_told(place: Scene) -> None:
    (version,) = place.versions("a")
    place.move(version)
    reader = Reader(place.store)
    reader.catch_up()
    before = reader.revision
    place.push("b")
    place.mark(version, "stable")
    reader.catch_up()
    assert reader.revision == before, "every push would make every gateway look"


def test_a_move_that_fails_is_not_told(place: Scene) -> None:
    (version,) = place.versions("a")
    place.move(version)
    reader = Reader(place.store)
    reader.catch_up()
    before = reader.revision
    with pytest.raises(ChannelMoved):
        place.move(version, expected=7)
    reader.catch_up()
    assert reader.revision == before


def test_another_address_of_a_target_reaches_all_its_workflows(place: Scene) -> None:
    other, elsewhere = scene(place.store, "other"), scene(place.store, "third", target="engine")
    values = [key(one) for one in (place, other, elsewhere)]
    reader = Reader(place.store)
    reader.catch_up()
    place.store.write(lambda tx: workflows.set_target(tx, ALICE, "dify", "http://a:1 http://b:2"))
    assert reader.catch_up() == 2
    found = [route(reader, value) for value in values]
    assert [one.upstreams for one in found if one] == [("http://a:1", "http://b:2")] * 2 + [()]


@pytest.mark.parametrize("seed", range(3))
def test_reading_what_changed_gives_the_same_as_reading_everything(store: Store, seed: int) -> None:
    """Readers that come by now and then, through moves, new and ended keys, keys brought back, and new addresses."""
    chance = random.Random(seed)
    places = [scene(store, f"flow-{number}") for number in range(3)]
    found = {place.workflow.pk: place.versions("a", "b", "c") for place in places}
    names = ("live", "staging")
    values = [f"app-brought-back-{number:010}" for number in range(5)]
    readers = [Reader(store) for _ in range(3)]

    def move(place: Scene) -> None:
        place.move(chance.choice(found[place.workflow.pk]), name=chance.choice(names))

    def create(place: Scene) -> None:
        key(place, f"key-{chance.random()}", chance.choice(names), chance.choice([None, *values]))

    def revoke(place: Scene) -> None:
        with store.read() as tx:
            held = [row["id"] for row in keys.listing(tx, place.workflow) if not row["revoked_at"]]
        if held:
            store.write(lambda tx: keys.revoke(tx, ALICE, place.workflow, chance.choice(held)))

    def readdress(place: Scene) -> None:
        address = f"http://127.0.0.1:{chance.randrange(1, 999)}"
        store.write(lambda tx: workflows.set_target(tx, ALICE, "dify", address))

    for _ in range(120):
        deed = chance.choices([move, create, revoke, readdress], [5, 4, 3, 1])[0]
        with suppress(InvalidRequest):  # a key in use: that has to change nothing, too
            deed(chance.choice(places))
        for reader in readers:
            if chance.random() < 0.3:
                reader.catch_up()
                assert reader.routes == everything(store)
    for reader in readers:
        reader.catch_up()
        assert reader.routes == everything(store)
    assert any(one.version_id for one in everything(store).values())
    with store.read() as tx:
        assert all(channels.listing(tx, place.workflow) for place in places)
