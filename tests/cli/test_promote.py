"""`lastgood promote` and `lastgood emergency-kit` on a data directory."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from lastgood import dsl
from lastgood.db.store import open_store
from lastgood.history import apps, workflows
from lastgood.settings import load
from lastgood.targets.dify import AdminKey, servers
from support.documents import document
from support.scene import ALICE

from .conftest import Run

SECRET = "the-live-secret"


@pytest.fixture
def staged(lastgood: Run, tmp_path: Path) -> str:
    """A version with a variable and a secret in staging of `orders`."""
    made = document("hello", secrets={"TOKEN": "the-staging-secret"})
    variable = {"id": "r", "name": "REGION", "value": "dev", "value_type": "string"}
    made.data["workflow"]["environment_variables"].append(variable)
    file = tmp_path / "orders.yml"
    file.write_text(dsl.to_yaml(made))
    assert lastgood("push", file, "-w", "orders").code == 0
    version = lastgood("versions", "orders", "--json").json[0]["id"]
    assert lastgood("publish", "orders", version, "--channel", "staging", "--no-verify").code == 0
    return str(version)


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    file = tmp_path / "live.yaml"
    file.write_text("environment:\n  REGION: eu\n  TOKEN: file:token.txt\n")
    (tmp_path / "token.txt").write_text(f"{SECRET}\n")
    return file


def test_a_promotion_with_an_overlay(lastgood: Run, staged: str, overlay: Path, home: Path) -> None:
    done = lastgood("promote", "orders", "--overlay", overlay, "--yes", "--no-verify")
    assert done.code == 0 and done.out.startswith("live of orders: nothing → v-"), done.err
    assert "REGION takes the value of the overlay" in done.err and SECRET not in done.out + done.err
    live = lastgood("versions", "orders", "--json").json[0]["id"]
    shown = lastgood("show", live).out
    assert f"promoted from  {staged} in staging (engine)" in shown
    assert f"tested         It is what {staged} is, but for 1 variable, 1 secret" in shown
    assert lastgood("log", "orders", "--json").json[0]["kind"] == "promote"
    stored = (home / "lastgood.db").read_bytes() + b"".join(one.read_bytes() for one in home.glob("*-wal"))
    assert SECRET.encode() not in stored


def test_a_dry_run_shows_and_does_nothing(lastgood: Run, staged: str, overlay: Path) -> None:
    refused = lastgood("promote", "orders", "--dry-run")
    assert refused.code == 1 and "refuse  live has no value for the secret TOKEN" in refused.out
    done = lastgood("promote", "orders", "--overlay", overlay, "--dry-run", "--json")
    assert done.code == 0 and not done.json["refused"] and SECRET not in done.out
    assert len(lastgood("versions", "orders", "--json").json) == 1


def test_a_refusal_is_a_sentence(lastgood: Run, staged: str) -> None:
    done = lastgood("promote", "orders", "--yes")
    assert done.code == 1 and f"lastgood: {staged} is not promoted from staging to live" in done.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("environment: {TOKEN: env:NO_SUCH_VARIABLE}", "env:NO_SUCH_VARIABLE: no such variable is set"),
        ("environment: {TOKEN: file:none}", "file:none: No such file"),
        ("environment: {TOKEN: clear}", "TOKEN is a secret; write it in the overlay as env:NAME or file:PATH"),
        ("other: 1", "it has one key"),
    ],
)
def test_a_bad_overlay(lastgood: Run, staged: str, tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "o.yaml"
    file.write_text(text)
    done = lastgood("promote", "orders", "--overlay", file, "--yes")
    assert done.code == 1 and said in done.err


def test_a_mapping_file_is_drafted_once(lastgood: Run, staged: str, tmp_path: Path) -> None:
    file = tmp_path / "map.yaml"
    assert lastgood("promote", "orders", "--write-mapping", file).code == 0
    assert file.read_text().startswith("from: engine\nto: engine\n")
    again = lastgood("promote", "orders", "--write-mapping", file)
    assert again.code == 1 and "is there already" in again.err


# the kit


@pytest.fixture
def bound(lastgood: Run, staged: str) -> str:
    """`orders`, whose staging runs on a Dify that nobody needs to ask."""

    def work(tx: Any) -> None:
        servers.save(tx, ALICE, "prod", "https://dify.example", AdminKey("k", "w"), facts={"workspace_id": "w"})
        workflow = workflows.find(tx, "orders")
        app = "0e0e0e0e-0000-4000-8000-000000000000"
        apps.bind(tx, ALICE, workflow, "staging", target="prod", app=app, name="Orders", mode="workflow")

    store = open_store(load())
    store.write(work)
    store.close()
    assert lastgood("mark", staged, "stable", "--reason", "it is good").code == 0
    return staged


def kit(lastgood: Run, folder: Path, *more: str) -> Any:
    return lastgood("emergency-kit", "orders", "-o", folder, "--channel", "staging", *more)


def test_a_kit_is_written_for_its_owner_alone(lastgood: Run, bound: str, tmp_path: Path) -> None:
    folder = tmp_path / "kit"
    done = kit(lastgood, folder)
    assert done.code == 0 and f"rolls Orders on prod back to {bound}" in done.out, done.err
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()}
    assert modes == {"README.txt": 0o600, "document.yml": 0o600, "kit.json": 0o600, "rollback.py": 0o700}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    facts = json.loads((folder / "kit.json").read_text())
    assert facts["server"]["url"] == "https://dify.example" and facts["version"]["id"] == bound
    assert "the-staging-secret" not in "".join(one.read_text() for one in folder.iterdir())
    assert kit(lastgood, folder).code == 0, "the same app's kit is renewed"


@pytest.mark.parametrize("what", ["another kit", "other files", "cut off"])
def test_nothing_of_somebody_elses_is_overwritten(lastgood: Run, bound: str, tmp_path: Path, what: str) -> None:
    folder = tmp_path / "kit"
    folder.mkdir()
    if what == "another kit":
        (folder / "kit.json").write_text('{"workflow": "orders", "channel": "staging", "app": {"id": "other"}}')
    elif what == "other files":
        (folder / "notes.txt").write_text("mine")
    else:
        kit(lastgood, folder)
        (folder / "unfinished.json").write_text("{}")
    done = kit(lastgood, folder)
    assert done.code == 1 and what in done.err
    assert kit(lastgood, folder, "--force").code == 0


def test_a_channel_on_the_engine_has_no_kit(lastgood: Run, bound: str, tmp_path: Path) -> None:
    done = lastgood("emergency-kit", "prod-invoice", "-o", tmp_path / "kit")
    assert done.code == 1 and not (tmp_path / "kit").exists()
