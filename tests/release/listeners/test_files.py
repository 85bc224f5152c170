"""The file listener: what scripts read is whole, in order and said once, whatever happens between."""

import errno
import fcntl
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lastgood.catalogue import Listener
from lastgood.release import listeners
from lastgood.release.listeners import files
from lastgood.release.means import Notice, Told
from release.notices import NEW, OLD, notice, program
from support.processes import at_once

V1, V2, V3 = "v-20260401-01", "v-20260401-02", "v-20260402-01"


def listener(folder: Path | str, **more: Any) -> Listener:
    return Listener(kind="file", directory=str(folder), **more)


def tell(folder: Path | str, told: Notice, **more: Any) -> Told:
    return listeners.tell("files", listener(folder, **more), told)


def moves(*versions: str, start: int = 1) -> list[Notice]:
    """A move to each of `versions`, one after the other."""
    return [
        notice(to_version=version, generation=number, key=f"op-{number}/listeners/wf-abc123/live")
        for number, version in enumerate(versions, start)
    ]


def current(folder: Path) -> str:
    return (folder / "current_version.txt").read_text()


def logged(folder: Path) -> list[str]:
    """The first field of each line."""
    return [line.split()[0] for line in (folder / "versions.log").read_text().splitlines()]


def test_a_move_is_written_as_scripts_read_it(tmp_path: Path) -> None:
    told = tell(tmp_path / "app", notice())
    assert (told.outcome, told.detail) == ("acknowledged", f"{tmp_path}/app/current_version.txt says {OLD}")
    assert current(tmp_path / "app") == f"{OLD}\n"
    line = (tmp_path / "app/versions.log").read_text()
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.fullmatch(rf"{OLD} {time} forward op-k3x9w2 prod-invoice/live@7 {notice().key}\n", line)
    assert sorted(file.name for file in (tmp_path / "app").iterdir()) == ["current_version.txt", "versions.log"]


def test_moves_are_logged_in_order_and_a_key_only_once(tmp_path: Path) -> None:
    for one in moves(V1, V2, V1):
        for _ in range(3):
            assert tell(tmp_path, one).outcome == "acknowledged"
    assert (current(tmp_path), logged(tmp_path)) == (f"{V1}\n", [V1, V2, V1])


def test_a_late_attempt_does_not_bring_an_older_version_back(tmp_path: Path) -> None:
    first, second, third = moves(V1, V2, V3)
    tell(tmp_path, first)
    tell(tmp_path, third)
    assert tell(tmp_path, first).outcome == "acknowledged"  # it had been told
    late = tell(tmp_path, second)
    assert (late.outcome, late.detail) == (
        "skipped",
        f"{tmp_path}/versions.log has a newer move already (generation 3)",
    )
    assert (current(tmp_path), logged(tmp_path)) == (f"{V3}\n", [V1, V3])


def test_an_attempt_after_a_crash_between_the_files_finishes_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = moves(V1, V2)
    tell(tmp_path, first)
    replace = files._replace

    def crashing(file: Path, text: str) -> None:
        if file.name == "current_version.txt":
            raise SystemExit
        replace(file, text)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(files, "_replace", crashing)
        tell(tmp_path, second)
    assert (current(tmp_path), logged(tmp_path)) == (f"{V1}\n", [V1, V2])  # what is current stands in the log
    assert tell(tmp_path, second).outcome == "acknowledged"
    assert (current(tmp_path), logged(tmp_path)) == (f"{V2}\n", [V1, V2])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("v-1\nv-2\n", ["v-1", "v-2", OLD]),
        ("v-1", ["v-1", OLD]),  # no line end
        ("\n\nv-1\n\n", [None, None, "v-1", None, OLD]),
        ("v-1 deployed by hand\n", ["v-1", OLD]),
        ("gr\xfc\xdfe\n", None),  # not UTF-8
    ],
)
def test_lines_written_by_hand_are_kept(tmp_path: Path, before: str, after: list[str | None] | None) -> None:
    data = before.encode("latin-1")
    (tmp_path / "versions.log").write_bytes(data)
    assert tell(tmp_path, notice()).outcome == "acknowledged"
    kept = (tmp_path / "versions.log").read_bytes()
    assert kept.startswith(data)
    if after is not None:
        assert [line.split()[0] if line else None for line in kept.decode().splitlines()] == after


def test_other_channels_in_the_same_directory_have_their_own_generations(tmp_path: Path) -> None:
    tell(tmp_path, notice(generation=9, key="a"), channels=("*",))
    told = tell(tmp_path, notice(channel="staging", generation=1, key="b", to_version=V3), channels=("*",))
    assert (told.outcome, logged(tmp_path)) == ("acknowledged", [OLD, V3])


def test_a_link_stays_a_link_and_a_mode_stays_as_it_was(tmp_path: Path) -> None:
    real, place = tmp_path / "real", tmp_path / "place"
    real.mkdir()
    place.mkdir()
    (real / "now").write_text("v-0\n")
    (real / "now").chmod(0o664)
    (place / "current_version.txt").symlink_to(real / "now")
    assert tell(place, notice()).outcome == "acknowledged"
    assert (place / "current_version.txt").is_symlink() and (real / "now").read_text() == f"{OLD}\n"
    assert (real / "now").stat().st_mode & 0o777 == 0o664


def test_what_a_crash_left_beside_the_files_is_used_again(tmp_path: Path) -> None:
    (tmp_path / ".versions.log.new").write_text("half a l")
    assert tell(tmp_path, notice()).outcome == "acknowledged"
    assert (logged(tmp_path), (tmp_path / ".versions.log.new").exists()) == ([OLD], False)


def test_a_directory_held_by_another_process_is_waited_for_until_the_time_is_over(tmp_path: Path) -> None:
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    told = tell(tmp_path, notice(), timeout=0.2)
    os.close(handle)
    assert (told.outcome, told.detail) == ("timed out", f"another process holds {tmp_path}")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = tell(tmp_path / "file" / "below", notice())
    assert (told.outcome, told.detail) == ("failed", f"{tmp_path}/file/below: Not a directory")


@pytest.mark.parametrize("call", [(os, "fsync"), (Path, "replace")], ids=["fsync", "rename"])
def test_a_full_disk_leaves_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: tuple[Any, str]
) -> None:
    first, second = moves(V1, V2)
    tell(tmp_path, first)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(*call, full)
        told = tell(tmp_path, second)
    assert (told.outcome, told.detail, told.good) == ("failed", "No space left on device", False)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert tell(tmp_path, second).outcome == "acknowledged"
    assert logged(tmp_path) == [V1, V2]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here ({mounted.stderr.strip()})")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_really_full_leaves_the_old_files(small_disk: Path) -> None:
    first, second = moves(V1, V2)
    tell(small_disk, first)
    with (small_disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space"):
        while True:
            filler.write(b"x" * 4096)
    told = tell(small_disk, second)
    assert (told.outcome, told.detail) == ("failed", "No space left on device")
    assert (current(small_disk), logged(small_disk)) == (f"{V1}\n", [V1])
    (small_disk / "filler").unlink()
    assert tell(small_disk, second).outcome == "acknowledged"
    assert (current(small_disk), logged(small_disk)) == (f"{V2}\n", [V1, V2])


def _many(barrier: Any, index: int, folder: str) -> list[str]:
    """Tell of the same eight moves as everybody else, each process in an order of its own, again and again."""
    barrier.wait()
    order = moves(*(f"v-20260401-{n:02d}" for n in range(1, 9)))
    return [tell(folder, one).outcome for one in (order if index % 2 else order[::-1]) * 2]


def test_several_processes_and_readers_at_once(tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            if (tmp_path / "current_version.txt").exists():
                seen.append((current(tmp_path), (tmp_path / "versions.log").read_text()))
            over.wait(0.001)

    reader = threading.Thread(target=read)
    reader.start()
    answers = at_once(4, _many, str(tmp_path))
    over.set()
    reader.join()
    assert {outcome for one in answers for outcome in one} <= {"acknowledged", "skipped"}
    keys = [line.split()[-1] for line in (tmp_path / "versions.log").read_text().splitlines()]
    numbers = [int(key.split("/")[0].removeprefix("op-")) for key in keys]
    assert numbers == sorted(set(numbers)) and numbers[-1] == 8
    assert current(tmp_path) == "v-20260401-08\n"
    assert seen
    for version, log in seen:  # whole, and in the log, at every look
        assert version.endswith("\n") and log.endswith("\n")
        assert version.strip() in [line.split()[0] for line in log.splitlines()]


# As an operations team writes it: read the current version, find the one before it, stop the one's container, start
# the other's, say so, and tell the alert webhook.
ROLLBACK = """#!/bin/bash
set -eu
cd "$1"
CURRENT=$(cat current_version.txt)
PREVIOUS=$(cut -d' ' -f1 versions.log | grep -x -m1 -B1 "$CURRENT" | head -n1)
if [ "$PREVIOUS" = "$CURRENT" ]; then echo "nothing before $CURRENT" >&2; exit 1; fi
docker stop "app-$CURRENT"
docker start "app-$PREVIOUS"
echo "Rolled back from $CURRENT to $PREVIOUS"
curl -fsS -X POST -d "Rollback executed to $PREVIOUS" "$ALERT_WEBHOOK"
"""


@pytest.mark.parametrize(
    ("history", "previous"),
    [
        ([V1], None),
        ([V1, V2], V1),
        ([V1, V2, V3], V2),
        ([V1, V2, V3, V2], V1),  # gone back once already: the one before, and not the one that was left
        ([V1, V2, V1], None),
    ],
)
def test_a_rollback_script_finds_the_version_before(tmp_path: Path, history: list[str], previous: str | None) -> None:
    folder, tools = tmp_path / "app", tmp_path / "bin"
    for one in moves(*history):
        tell(folder, one)
    for name in ("docker", "curl"):
        program(tools / name, f'#!/bin/bash\necho "{name} $*" >> {tmp_path}/calls\n')
    ran = subprocess.run(
        ["bash", program(tmp_path / "rollback.sh", ROLLBACK), folder],
        env={"PATH": f"{tools}:{os.environ['PATH']}", "ALERT_WEBHOOK": "http://alerts.example/x"},
        capture_output=True,
        text=True,
        check=False,
    )
    if previous is None:
        assert (ran.returncode, ran.stderr) == (1, f"nothing before {history[-1]}\n")
        return
    assert (ran.returncode, ran.stdout) == (0, f"Rolled back from {history[-1]} to {previous}\n")
    assert (tmp_path / "calls").read_text().splitlines() == [
        f"docker stop app-{history[-1]}",
        f"docker start app-{previous}",
        f"curl -fsS -X POST -d Rollback executed to {previous} http://alerts.example/x",
    ]


def test_the_directory_may_have_placeholders(tmp_path: Path) -> None:
    tell(f"{tmp_path}/{{workflow}}/{{channel}}", notice(from_version=NEW))
    assert current(tmp_path / "prod-invoice/live") == f"{OLD}\n"
