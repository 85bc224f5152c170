"""The checklist as a whole: order, time limits, failures of the items themselves, verdict and evidence."""

import json
import re
import threading
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.db.store import Store
from lastgood.errors import FailedVersion, Unavailable
from lastgood.history import channels, keys, smokes, versions
from lastgood.release import moves
from lastgood.release.checks import checklist, custom
from lastgood.release.checks.case import Case, Checked, Verdict
from lastgood.release.checks.checklist import ITEMS, Item, names, record, run, verdict
from lastgood.release.verification import Upstream
from support.engine import FakeEngine
from support.scene import ALICE
from support.stores import clean_settings, on_sqlite

from .conftest import TOKEN, Web, serve

ORDER = (
    *("pointer", "routes", "workers", "health", "smoke", "instances"),
    *("triggers", "app", "positions", "dependencies", "data", "access"),
)
HERE = tuple(name for name in ORDER if name != "app")  # of a channel that no Dify app runs nothing is told of one


def item(name: str, *verdicts: Verdict, required: bool = True) -> Item:
    return Item(name, lambda _: [Checked(name, one, "well", "so", required=required) for one in verdicts])


@pytest.fixture
def items(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts other items in the place of the checklist's own."""
    return lambda *some: monkeypatch.setattr(checklist, "ITEMS", some)


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Installs entry points, by name and value."""

    def install(**values: str) -> None:
        found = [EntryPoint(name, value, custom.GROUP) for name, value in values.items()]
        monkeypatch.setattr(custom, "entry_points", lambda group: found if group == custom.GROUP else [])
        custom.installed.cache_clear()

    yield install
    custom.installed.cache_clear()


def test_all_that_is_well(store: Store, engine: FakeEngine, web: Web, tmp_path: Path) -> None:
    served = serve(store, secrets={"KEY": "sk-12345678"})
    place = served.place
    store.write(lambda tx: keys.create(tx, ALICE, place.workflow, name="web"))
    store.write(lambda tx: smokes.add(tx, ALICE, place.workflow, inputs={}, expect=["outputs.said == 'hello'"]))
    (tmp_path / "position").write_text("7")
    settings = {
        "health": {"shop": {"url": f"{web.url}/"}},
        "dependencies": {"rates": {"url": f"{web.url}/", "header": "X-Key: {secret}", "secret": "KEY"}},
        "positions": {"orders": {"command": ["cat", str(tmp_path / "position")]}},
        "data_checks": {"versions": {"url": f"sqlite:///{tmp_path}/shop.db", "query": "SELECT 5"}},
    }
    (tmp_path / "shop.db").touch()
    case = served.case(settings=settings, engine=lambda: Upstream(engine.url, TOKEN))
    case = replace(case, baseline=json.loads(json.dumps(record(case))))
    found = run(case)
    assert list(dict.fromkeys(one.check for one in found)) == list(HERE)
    assert {one.check: one.verdict for one in found} == {
        **dict.fromkeys(HERE, "pass"),
        "workers": "skipped" if store.postgres else "pass",
        "instances": "skipped",
        "triggers": "skipped",
        "access": "skipped",
    }
    assert verdict(found) == "passed"
    assert place.find(served.version.id).state == "stable"


def test_the_names_in_their_order() -> None:
    assert names()[: len(ITEMS)] == ORDER


def test_only_those_named_are_run_and_a_name_of_none_is_told(store: Store) -> None:
    found = run(serve(store).case(), only=("routes", "nonsense", "pointer"))
    assert [(one.check, one.verdict) for one in found if one.subject != "engine"] == [
        ("pointer", "pass"),
        ("routes", "skipped"),
        ("nonsense", "unknown"),
    ]


@on_sqlite
def test_an_item_that_fails_of_itself_is_unknown_and_costs_the_others_nothing(
    store: Store, items: Callable[..., None]
) -> None:
    def broken(_: Case) -> Iterator[Checked]:
        yield Checked("broken", "pass", "well", "so far")
        raise KeyError("postgresql://user:hunter22@host/db")

    def ours(_: Case) -> list[Checked]:
        raise Unavailable(detail="The store is away.")

    items(Item("broken", broken), Item("ours", ours), item("good", "pass"))
    found = run(serve(store).case())
    assert [(one.check, one.verdict, one.found) for one in found] == [
        ("broken", "pass", "so far"),
        ("broken", "unknown", "it could not be checked (KeyError)"),
        ("ours", "unknown", "The store is away."),
        ("good", "pass", "so"),
    ]
    assert verdict(found) == "inconclusive"


@on_sqlite
def test_an_item_that_takes_too_long_is_unknown(store: Store, items: Callable[..., None]) -> None:
    over = threading.Event()

    def hangs(_: Case) -> list[Checked]:
        over.wait(30)
        return []

    items(Item("slow", hangs, hangs_too, lambda _: 0.2), item("good", "pass"))
    try:
        found = run(serve(store).case())
        assert [(one.check, one.verdict, one.found) for one in found] == [
            ("slow", "unknown", "it did not end in its time"),
            ("good", "pass", "so"),
        ]
    finally:
        over.set()


def hangs_too(_: Case) -> dict[str, Any]:
    raise ValueError("nothing to record")


@on_sqlite
def test_items_run_at_the_same_time(store: Store, items: Callable[..., None]) -> None:
    meeting = threading.Barrier(6, timeout=20)

    def meet(_: Case) -> list[Checked]:
        meeting.wait()
        return [Checked("meets", "pass", "", "")]

    items(*(Item(f"meets{number}", meet) for number in range(6)))
    assert [one.verdict for one in run(serve(store).case())] == ["pass"] * 6


@on_sqlite
def test_what_could_not_be_recorded_is_nothing(store: Store, items: Callable[..., None]) -> None:
    items(Item("bad", lambda _: [], hangs_too), Item("good", lambda _: [], lambda _: {"n": 1}), item("none"))
    assert record(serve(store).case()) == {"bad": {}, "good": {"n": 1}}


@on_sqlite
def test_what_is_told_is_one_line_not_too_long_and_without_secrets(store: Store, items: Callable[..., None]) -> None:
    said = "a\r\n\x1b[31mb sk-12345678 " + "y" * 9999
    items(Item("loud", lambda _: [Checked("loud", "fail", "sk-12345678", said)]))
    (one,) = run(serve(store, secrets={"KEY": "sk-12345678"}).case())
    assert one.found.startswith("a [31mb ****") and len(one.found) < 700
    assert "sk-12345678" not in str(one.as_data())


VERDICTS: list[tuple[list[tuple[Verdict, bool]], str]] = [
    ([], "none"),
    ([("skipped", True)], "none"),
    ([("pass", True)], "passed"),
    ([("pass", True), ("skipped", True)], "passed"),
    ([("pass", True), ("unknown", True)], "inconclusive"),
    ([("unknown", True), ("fail", True), ("pass", True)], "failed"),
    ([("pass", True), ("fail", False)], "passed"),
    ([("pass", True), ("unknown", False)], "passed"),
    ([("pass", False)], "none"),
    ([("unknown", True), ("fail", False)], "inconclusive"),
]


@pytest.mark.parametrize(("found", "expected"), VERDICTS)
def test_the_verdict_on_all(found: list[tuple[Verdict, bool]], expected: str) -> None:
    assert verdict([Checked("x", one, "", "", required=required) for one, required in found]) == expected


checked = st.builds(
    Checked,
    check=st.just("x"),
    verdict=st.sampled_from(["pass", "fail", "unknown", "skipped"]),
    expected=st.just(""),
    found=st.just(""),
    required=st.booleans(),
)


@given(found=st.lists(checked), more=checked)
def test_more_that_is_not_well_never_makes_it_better(found: list[Checked], more: Checked) -> None:
    rank = {"passed": 0, "none": 0, "inconclusive": 1, "failed": 2}
    assert rank[verdict([*found, more])] >= rank[verdict(found)]
    assert verdict(found) == verdict(found[::-1])


def evidence(store: Store, version: versions.Version) -> list[dict[str, Any]]:
    with store.read() as tx:
        return versions.evidence_of(tx, version)


@pytest.mark.parametrize(
    ("verdicts", "kept", "reason"),
    [
        (["pass", "pass"], "passed", "2 checks passed"),
        (["pass", "fail", "fail"], "failed", "failed: some: so (and 1 more)"),
        (["unknown", "pass"], "inconclusive", "not known: some: so"),
    ],
)
def test_the_outcome_is_kept_as_evidence_and_proves_nothing_by_itself(
    store: Store, items: Callable[..., None], verdicts: list[Verdict], kept: str, reason: str
) -> None:
    served = serve(store)
    items(item("some", *verdicts))
    run(served.case())
    (piece,) = evidence(store, served.version)
    assert (piece["kind"], piece["verdict"], piece["actor"]) == ("verification", kept, "alice")
    assert piece["detail"]["reason"] == reason
    assert [one["verdict"] for one in piece["detail"]["checks"]] == verdicts
    assert served.place.find(served.version.id).state == "candidate"
    assert served.place.last_good() is None


@on_sqlite
def test_where_nothing_was_checked_nothing_is_kept(store: Store, items: Callable[..., None]) -> None:
    served = serve(store)
    items(item("some", "skipped"))
    run(served.case())
    assert evidence(store, served.version) == []


@on_sqlite
def test_an_outcome_that_cannot_be_kept_is_told(
    store: Store, items: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise Unavailable(detail="The disk is full.")

    served = serve(store)
    items(item("some", "pass"))
    monkeypatch.setattr(store, "write", full)
    found = run(served.case())
    assert [(one.check, one.verdict, one.found) for one in found] == [
        ("some", "pass", "so"),
        ("evidence", "unknown", "The disk is full."),
    ]


def passing(case: Case) -> list[Checked]:
    return [Checked("anything", "pass", "well", case.version.id, subject="one")]


def raising(case: Case) -> list[Checked]:
    raise RuntimeError(case.version.id)


def of_another_kind(case: Case) -> list[str]:
    return ["well"]


NO_FUNCTION = 5


@on_sqlite
def test_checks_of_your_own_come_last_under_their_own_names(store: Store, points: Callable[..., None]) -> None:
    here = __name__
    points(
        zebra=f"{here}:passing",
        bad=f"{here}:raising",
        odd=f"{here}:of_another_kind",
        none=f"{here}:NO_FUNCTION",
        gone="no.such.module:check",
        lost=f"{here}:no_such_function",
        pointer=f"{here}:passing",
    )
    served = serve(store)
    assert names()[len(ITEMS) :] == ("bad", "gone", "lost", "none", "odd", "zebra")
    found = run(served.case(), only=("zebra", "bad", "odd", "none", "gone", "lost"))
    assert {one.check: (one.verdict, one.found) for one in found} == {
        "bad": ("unknown", "it could not be checked (RuntimeError)"),
        "gone": ("unknown", "it could not be checked (ModuleNotFoundError)"),
        "lost": ("unknown", "it could not be checked (AttributeError)"),
        "none": ("unknown", "it could not be checked (NotACheck)"),
        "odd": ("unknown", "it could not be checked (NotACheck)"),
        "zebra": ("pass", served.version.id),
    }


@on_sqlite
def test_nobody_takes_the_place_of_an_item(store: Store, points: Callable[..., None]) -> None:
    points(pointer=f"{__name__}:passing")
    wrong = replace(serve(store).case(), generation=9)
    assert run(wrong, only=("pointer",))[0].verdict == "fail"


@on_sqlite
def test_many_verifications_never_bury_what_proved_or_condemned_a_version(
    store: Store, items: Callable[..., None]
) -> None:
    served = serve(store)
    good = served.place.mark(served.version, "stable")
    (bad,) = served.place.versions("b", state="failed")
    items(item("some", "fail"))
    for version in (good, bad):
        for _ in range(25):
            run(replace(served.case(), version=version))
    with store.read() as tx:
        assert "marked stable (seen to be stable)" in moves.proof(tx, good)
        channel = channels.get(tx, served.place.workflow)
    with pytest.raises(FailedVersion, match="seen to be failed, by alice"):
        store.write(
            lambda tx: moves.publish(
                tx, ALICE, served.place.workflow, bad.id, expected=channel.generation, reason="", force=False
            )
        )


def test_the_documentation_tells_of_every_item() -> None:
    text = (Path(__file__).parents[3] / "docs" / "verification.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == ORDER


def test_what_the_documentation_declares_is_understood(home: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "verification.md").read_text(encoding="utf-8")
    declared = re.search(r"```toml\n(\[health.*?)```", text, re.DOTALL)
    assert declared
    settings = clean_settings(home, **tomllib.loads(declared[1]))
    assert settings.data_checks["orders"].tolerance == 0.01
    assert settings.positions["orders"].workflows == ("prod-*",)
