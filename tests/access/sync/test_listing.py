"""Lists: their forms, what is not believed, functions of others, and digests."""

from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from lastgood.access.grants import Grant
from lastgood.access.sync import buckets, listing
from lastgood.catalogue import GrantSource
from lastgood.errors import InvalidSetting, SourceUnreachable, UnknownServer

ANN = {"user_id": "ann", "role": "viewer"}


def of_options(options: Any) -> Any:
    """An entry point's function."""
    if options.get("fail"):
        raise RuntimeError("its words are its own")
    return [{"user_id": options["who"], "role": "viewer"}]


@pytest.mark.parametrize(
    ("data", "had", "problems"),
    [
        ([ANN], {("ann", "viewer", "*")}, 0),
        ({"grants": [{**ANN, "resource": "workflow:x"}], "count": 1}, {("ann", "viewer", "workflow:x")}, 0),
        ([ANN, ANN], {("ann", "viewer", "*")}, 0),
        ([ANN, 7, {"user_id": "token:ci", "role": "viewer"}], {("ann", "viewer", "*")}, 2),
        ([{}] * 100, set(), 20),
    ],
)
def test_forms_of_lists(data: Any, had: set[Any], problems: int) -> None:
    found = listing.read(data, {}, "hr")
    assert (found.had, len(found.problems)) == (had, problems)


@pytest.mark.parametrize(
    "data", [None, "x", {}, {"grants": None}, {"grants": [ANN], "count": 2}, {"grants": [], "as_of": "now"}]
)
def test_what_is_no_list_is_not_believed(data: Any) -> None:
    with pytest.raises(SourceUnreachable):
        listing.read(data, {}, "hr")


def test_a_function_of_others_gives_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("ours", f"{__name__}:of_options", listing.GROUP)
    monkeypatch.setattr(listing, "entry_points", lambda group: EntryPoints([point]) if group == listing.GROUP else ())
    setting = GrantSource(kind="ours", options={"who": "ann"})
    lister = listing.lister_of("x", setting)
    assert lister is not None and lister.grants().had == {("ann", "viewer", "*")}
    broken = listing.lister_of("x", GrantSource(kind="ours", options={"fail": "yes"}))
    with pytest.raises(SourceUnreachable, match="RuntimeError") as caught:
        broken.grants()  # type: ignore[union-attr]
    assert "words" not in str(caught.value)
    with pytest.raises(InvalidSetting, match="neither"):
        listing.lister_of("x", GrantSource(kind="theirs"))
    with pytest.raises(InvalidSetting, match="http"):
        listing.lister_of("x", GrantSource(kind="url", url="file:///etc/passwd"))


def test_what_we_say_ourselves_of_a_list_is_told() -> None:
    def members(_: Any) -> Any:
        raise UnknownServer(server="main")

    with pytest.raises(SourceUnreachable, match="main"):
        listing.Given("x", GrantSource(kind="dify"), members).grants()


def test_digests_find_what_differs_and_only_that() -> None:
    some = {(f"u{number}", "viewer", "*") for number in range(1000)}
    one = ("u7", "viewer", "*")
    ours, theirs = buckets.digests(some), buckets.digests(some - {one})
    assert buckets.differing(ours, theirs) == [buckets.bucket_of(one)] == [Grant(*one).bucket]
    assert buckets.digests(sorted(some)) == buckets.digests(sorted(some, reverse=True))
    asked = buckets.answer(some, [("bucket", str(buckets.bucket_of(one)))], 5)
    assert {"user_id": "u7", "role": "viewer", "resource": "*"} in asked["grants"]
    assert len(asked["grants"]) < 50
