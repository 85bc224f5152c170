"""What speaks for a version, and how it is said."""

import pytest

from lastgood.db.store import Store
from lastgood.release import evidence
from lastgood.release.evidence import Evidence
from lastgood.release.means import Means
from lastgood.release.verification import Upstream
from support.scene import Clock, scene


def nowhere() -> Upstream:
    raise AssertionError("nothing here needs the engine")


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (Evidence(None, None, "nothing has proven it", None, None, None, 0), "nothing has proven it"),
        (
            Evidence("2026-11-24T03:12:59.000000Z", "alice", "smoke requests passed", 1204, 0.001, 80.0, 26 * 3600),
            "smoke requests passed on 2026-11-24 03:12 UTC, by alice; 1,204 requests, 0.1 % errors; live for 26 h",
        ),
        (
            Evidence(None, None, "nothing has proven it", 3, None, None, 90),
            "nothing has proven it; 3 requests, 0.0 % ",
        ),
        (Evidence(None, None, "x", None, None, None, 59), "x; live for 59 s"),
        (Evidence(None, None, "x", None, None, None, 86400 * 9), "x; live for 9 days"),
    ],
)
def test_the_sentence(known: Evidence, said: str) -> None:
    assert known.sentence().startswith(said)


def test_how_long_it_was_live_in_all_its_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, "2026-11-23T10:00:00.000000Z")
    here = scene(store)
    a, b = here.versions("a", "b", state="stable")
    here.move(a)
    clock.set("2026-11-23 10:30")
    here.move(b)
    clock.set("2026-11-23 11:00")
    here.move(a, name="staging")
    clock.set("2026-11-23 12:00")
    here.move(a, kind="rollback")
    clock.set("2026-11-23 12:10")
    means = Means(store, nowhere)
    with store.read() as tx:
        found = evidence.of(means, tx, here.workflow, here.find(a.id))
        other = evidence.of(means, tx, here.workflow, here.find(b.id))
    assert found.baked_seconds == (30 + 70 + 10) * 60
    assert other.baked_seconds == 90 * 60
    assert found.verified_by == "alice" and found.how == "marked stable (seen to be stable)"
    assert found.requests is None
    clock.set("2026-11-23 09:00")  # a clock that jumped back makes no negative stay
    with store.read() as tx:
        assert evidence.of(means, tx, here.workflow, here.find(a.id)).baked_seconds >= 0
