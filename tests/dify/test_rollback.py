"""A rollback on a Dify app: what is live, what is kept, and what is left as it was."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dify.ground import Ground, content, ground
from lastgood.history.apps import Way


@pytest.fixture(params=["1.13.0", "1.14.2"])
def here(request: pytest.FixtureRequest, sqlite_template: Path, home: Path) -> Iterator[Ground]:
    with ground(request.param, sqlite_template, home) as made:
        yield made


@pytest.mark.parametrize("way", ["publish", "restore"])
def test_a_rollback_serves_the_good_version_and_leaves_the_draft_as_it_was(here: Ground, way: Way) -> None:
    here.set_way(way)
    before, live = content(here.fake.draft), here.fake.live
    good = here.fake.versions[1]
    done = here.run()
    assert done.state == "succeeded", done.report
    assert here.channel.version == here.good
    assert here.channel.applying is None
    assert content(here.fake.live) == content(good)
    assert content(here.fake.draft) == before
    assert here.fake.live is not live
    assert here.placed(here.fake.live) == here.good
    assert here.app.live == here.good
    assert (here.fake.live.marked_comment if here.fake.live else "").startswith(f"lastgood {done.id} to ")
    undone = here.undo(done.id)
    assert undone.state == "undone", undone.report
    assert here.channel.version == here.bad
    assert content(here.fake.live) == content(live)
    assert content(here.fake.draft) == before
