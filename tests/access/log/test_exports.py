"""An export stands by itself: any single change to any row, order or count of it is found, and the row named."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lastgood.access.log import exports, judging, rows, tree
from lastgood.access.log.notes import Proven, Signer, Verifier
from lastgood.db import audit
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.errors import InvalidCheckpoint, InvalidExport
from support.stores import on_sqlite

from .conftest import export, fill

COUNT = 520  # two whole tiles and a part
FIRST = "rows/000000000000.jsonl"
pytestmark = on_sqlite


@pytest.fixture
def folder(exported: Callable[[int], Path]) -> Path:
    return exported(COUNT)


def keys(folder: Path) -> list[Verifier]:
    return exports.read_keys((folder / "key").read_text(), folder)


def found(folder: Path) -> list[judging.Finding]:
    return exports.verify(folder, (), keys(folder))[0].findings


def test_an_export_verifies_and_is_what_it_says(folder: Path) -> None:
    report, own = exports.verify(folder)
    assert own
    assert (report.good, report.rows, report.proven, report.heads) == (True, COUNT, COUNT, 1)
    facts = [json.loads(line) for line in (folder / FIRST).read_text().splitlines()]
    assert [one["request_id"] for one in facts] == [f"rq-{number}" for number in range(COUNT)]
    assert (folder / "tile/0/002.p/8").stat().st_size == 8 * 32
    assert (folder / "tile/1/000.p/2").exists()


def test_any_single_change_is_found_and_the_row_is_named(folder: Path) -> None:
    """Rows of one export, changed in every way that one hand can, a few hundred times."""
    original = (folder / FIRST).read_bytes()
    lines = original.split(b"\n")[:-1]
    trusted = keys(folder)

    def put(changed: list[bytes]) -> list[tuple[str, int | None]]:
        (folder / FIRST).write_bytes(b"".join(line + b"\n" for line in changed))
        report, _ = exports.verify(folder, (), trusted)
        return [(one.kind, one.place) for one in report.findings]

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        place=st.one_of(st.sampled_from([0, 1, 255, 256, 511, 512, COUNT - 1]), st.integers(0, COUNT - 1)),
        other=st.integers(0, COUNT - 1),
        how=st.sampled_from(["alter", "cut", "drop", "double", "insert", "swap", "move"]),
        at=st.integers(0, 10**6),
    )
    def change(place: int, other: int, how: str, at: int) -> None:
        row = lines[place]
        at %= len(row)
        match how:
            case "alter":
                put_in = bytes([row[at] ^ 1]) if row[at] ^ 1 != 10 else b"~"
                assert put([*lines[:place], row[:at] + put_in + row[at + 1 :], *lines[place + 1 :]]) == [
                    ("altered", place)
                ]
            case "cut":
                assert put([*lines[:place], row[:at], *lines[place + 1 :]]) == [("altered", place)]
            case "drop":
                assert put([*lines[:place], *lines[place + 1 :]]) == [("dropped", place)]
            case "double":
                kinds = put([*lines[: other + 1], row, *lines[other + 1 :]])
                assert [kind for kind, _ in kinds] == ["inserted"]
                # Beside itself, either of the two is the one too many.
                assert kinds[0][1] in (other, other + 1, other + 2 if place == other + 1 else other)
            case "insert":
                assert put([*lines[:place], row + b" ", *lines[place:]]) == [("inserted", place)]
            case "swap" if place != other:
                swapped = list(lines)
                swapped[place], swapped[other] = swapped[other], swapped[place]
                kinds = put(swapped)
                assert {kind for kind, _ in kinds} == {"moved"}
                # Of three rows that stand in reverse any two moved, of two either.
                span = set(range(min(place, other), max(place, other) + 1))
                assert {one for _, one in kinds} <= (span if len(span) < 4 else {place, other})
                assert len(kinds) == min(len(span) - 1, 2)
            case "move" if place != other:
                rest = [*lines[:place], *lines[place + 1 :]]
                kinds = put([*rest[:other], row, *rest[other:]])
                assert [kind for kind, _ in kinds] == ["moved"]
                assert kinds[0][1] == place or abs(place - other) == 1

    change()
    (folder / FIRST).write_bytes(original)
    assert found(folder) == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [("tile/0/000", "tile"), ("tile/0/002.p/8", "tile"), ("tile/1/000.p/2", "tile")],
)
def test_a_change_of_the_hashes_is_told_apart_from_one_of_the_rows(folder: Path, name: str, kind: str) -> None:
    data = (folder / name).read_bytes()
    for changed in (data[:-1] + bytes([data[-1] ^ 1]), data[:-32], data + b"\0", b""):
        (folder / name).write_bytes(changed)
        findings = found(folder)
        assert [one.kind for one in findings] == [kind]
        assert "rows are as they were signed" in findings[0].detail
    (folder / name).unlink()
    assert "missing" in found(folder)[0].detail


def test_a_row_changed_with_its_hash_is_found_by_the_hashes_above(folder: Path) -> None:
    (folder / FIRST).write_bytes((folder / FIRST).read_bytes().replace(b'"rq-300"', b'"rq-301"', 1))
    line = (folder / FIRST).read_bytes().split(b"\n")[300]
    tile = bytearray((folder / "tile/0/001").read_bytes())
    tile[(300 - 256) * 32 : (301 - 256) * 32] = hashlib.sha256(b"\0" + line).digest()
    (folder / "tile/0/001").write_bytes(tile)
    details = [one.detail for one in found(folder)]
    assert any("do not lead to the root that was signed at 520" in detail for detail in details)
    assert any("among the rows 256 to 511" in detail for detail in details)


def test_what_else_lies_in_it_is_looked_at(folder: Path) -> None:
    (folder / "rows" / "more.jsonl").write_text("{}\n")
    assert [one.kind for one in found(folder)] == ["inserted"]
    (folder / "rows" / "more.jsonl").unlink()
    (folder / FIRST).rename(folder / "rows/000000000007.jsonl")
    assert [one.kind for one in found(folder)] == ["place"]
    (folder / "rows/000000000007.jsonl").rename(folder / FIRST)
    (folder / "export.json").write_text(json.dumps({"first": 1, "end": COUNT}))
    assert {"pruned", "inserted"} <= {one.kind for one in found(folder)}
    for text in ("", "[]", "{}", '{"first": 0, "end": 521}', '{"first": -1, "end": 3}', "[" * 100_000):
        (folder / "export.json").write_text(text)
        with pytest.raises(InvalidExport):
            exports.verify(folder)


def test_only_the_right_key_is_trusted(folder: Path) -> None:
    stranger = Signer(keys(folder)[0].name, b"s" * 32)
    with pytest.raises(InvalidCheckpoint, match="none of the keys"):
        exports.verify(folder, (), [stranger.verifier])
    note = (folder / "checkpoint").read_text()
    (folder / "checkpoint").write_text(note.replace(f"\n{COUNT}\n", f"\n{COUNT - 1}\n"))
    with pytest.raises(InvalidCheckpoint, match="signature"):
        exports.verify(folder)
    (folder / "key").write_text("\n")
    with pytest.raises(InvalidExport):
        exports.verify(folder)


def test_an_old_export_verifies_against_a_new_checkpoint_after_pruning(
    store: Store, folder: Path, tmp_path: Path
) -> None:
    old = tree.sign_now(store).size

    def prune(tx: object) -> None:
        rows.drop(tx, 300)  # type: ignore[arg-type]
        audit.append(tx, Principal("u1"), "audit:prune", "audit/log", first=300)  # type: ignore[arg-type]

    store.write(prune)
    fill(store, 700)
    head = tree.sign_now(store)
    with store.read() as tx:
        proven = tree.proven(tx, head, old)
        size, leaf, path = tree.prove_place(tx, 3)
        assert (size, len(leaf), len(path) > 5) == (head.size, 32, True), "a proof of a row that is gone"
    report, _ = exports.verify(folder, [("today.txt", proven)], keys(folder))
    assert (report.good, report.heads) == (True, 2)
    (finding,) = exports.verify(folder, [("today.txt", Proven(head.note))], keys(folder))[0].findings
    assert "today.txt" in finding.detail
    wrong = Proven(head.note, old, (*proven.proof[:-1], b"x" * 32))
    assert not exports.verify(folder, [("today.txt", wrong)], keys(folder))[0].good
    (folder / FIRST).write_bytes((folder / FIRST).read_bytes().replace(b"because", b"bec@use", 1))
    report, _ = exports.verify(folder, [("today.txt", proven)], keys(folder))
    assert [(one.kind, one.place) for one in report.findings] == [("altered", 0)]

    sealed = b"".join(rows.stream(store, 0, head.size)).splitlines()
    assert len(sealed) == len(set(sealed)) == head.size - 300, "what was pruned moves nothing else"
    later = tmp_path / "later"
    export(store, later)
    report, _ = exports.verify(later, (), keys(folder))
    assert (report.good, report.first, report.rows) == (True, 300, head.size - 300)
    first = later / "rows/000000000300.jsonl"
    lines = first.read_bytes().split(b"\n")
    first.write_bytes(b"\n".join(lines[1:]))
    assert [(one.kind, one.place) for one in exports.verify(later, (), keys(folder))[0].findings] == [
        ("dropped", 300)
    ]
    first.write_bytes(b"\n".join(lines))
    (later / "tile/0/000").write_bytes(b"x" * 8192)
    assert "tile" in {one.kind for one in exports.verify(later, (), keys(folder))[0].findings}


def test_segments_are_parts_of_one_log(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "SEGMENT", 100)
    fill(store, 350)
    export(store, tmp_path / "parts", end=250)
    names = sorted(path.name for path in (tmp_path / "parts/rows").iterdir())
    assert names == ["000000000000.jsonl", "000000000100.jsonl", "000000000200.jsonl"]
    report, _ = exports.verify(tmp_path / "parts")
    assert (report.good, report.rows, report.size) == (True, 250, 350)
    (tmp_path / "parts/rows/000000000100.jsonl").unlink()
    findings = exports.verify(tmp_path / "parts")[0].findings
    assert {one.place for one in findings if one.kind == "dropped"} == set(range(100, 200))


def test_all_of_an_export_is_on_the_disk_when_it_is_told(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are dropped on its word."""
    settled: list[str] = []

    def fsync(handle: int, real: Callable[[int], None] = os.fsync) -> None:
        settled.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    fill(store, 260)
    export(store, tmp_path / "export")
    made = {str(path) for path in (tmp_path / "export", *(tmp_path / "export").rglob("*"))}
    assert made <= set(settled)
    assert settled[-2:] == [str(tmp_path / "export/checkpoint"), str(tmp_path / "export")]


def test_an_export_goes_into_no_full_directory(store: Store, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidExport, match="something is there"):
        export(store, folder)
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "under"):
        with pytest.raises(InvalidExport):
            export(store, path)
    shutil.rmtree(folder)
    with pytest.raises(InvalidExport):
        exports.verify(folder)
