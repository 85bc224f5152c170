"""What goes wrong is one sentence on standard error, with the right exit code, and changes nothing."""

import sqlite3
from pathlib import Path

import pytest

from cli.conftest import LIVE, NEW, OLD, SLUG, Run, written
from lastgood import dsl
from lastgood.cli import main
from support.documents import document, plain_chat

NOWHERE = "http://127.0.0.1:1"

# Command line, exit code, what the sentence says.
WRONG: list[tuple[tuple[str, ...], int, str]] = [
    (("versions", "nope"), 1, "There is no workflow 'nope'. `lastgood workflows` lists them"),
    (("versions", ".."), 1, "'..' is the name of nothing."),
    (("show", "../flow.svg"), 1, "'../flow.svg' is the name of nothing."),
    (("show", "v-20200101-01"), 1, "There is no version 'v-20200101-01'"),
    (("show", "latest"), 1, "'latest' is not a version id; one looks like v-20240401-01."),
    (("show", "snap_20200101_v1"), 1, "There is no snapshot 'snap_20200101_v1'"),
    (("export", SLUG, "v-20200101-01"), 1, "There is no version"),
    (("export", "other", OLD), 1, f"{OLD} is a version of {SLUG}, not of other"),
    (("publish", SLUG, "v-20200101-01"), 1, f"There is no version 'v-20200101-01' of {SLUG}"),
    (("publish", SLUG, LIVE), 1, f"already points to {LIVE} (generation 2); nothing was changed."),
    (("publish", SLUG, NEW, "--semver", "one"), 1, "semver"),
    (("publish", SLUG, NEW, "--semver", "1.1.0"), 1, "1.1.0 is lower than 1.1.1, which the changes call for"),
    (("publish", SLUG, NEW, "--channel", "No Name"), 1, "is not a channel id"),
    (("rollback", "nope"), 1, "There is no workflow 'nope'"),
    (("rollback", SLUG, "--channel", "staging"), 1, f"Workflow {SLUG} has no channel 'staging'"),
    (("rollback", SLUG, "--to", LIVE), 1, f"already points to {LIVE}"),
    (("rollback", SLUG, "--to", "yesterday"), 1, "is not a version id"),
    (("mark", NEW, "stable", "--reason", ""), 1, "reason"),
    (("restore", "v-20200101-01"), 1, "There is no version"),
    (("snapshots", "nope"), 1, "There is no workflow"),
    (("changes", "--since", "long ago"), 1, "'long ago' is neither an age such as 1h nor a time"),
    (("smoke", "add", SLUG, "--expect", "a ==="), 1, "is not a JMESPath expression"),
    (("smoke", "add", SLUG, "--input", "text"), 1, "'text' is neither NAME=VALUE nor @FILE.json"),
    (
        ("smoke", "add", SLUG, "--input", "@/no/such.json"),
        1,
        "/no/such.json cannot be read (No such file or directory)",
    ),
    (("smoke", "remove", SLUG, "smoke-x"), 1, "has no smoke request 'smoke-x'"),
    (("smoke", "run", "v-20200101-01"), 1, "There is no version"),
    (("smoke", "run", OLD), 1, f"the workflow of {OLD} has no smoke requests"),
    (("key", "create", SLUG, "--name", ""), 1, "a key needs a name"),
    (("key", "revoke", SLUG, "key-x"), 1, "has no app key 'key-x'"),
    (("run", SLUG, "--channel", "staging"), 1, f"Channel staging of {SLUG} points to no version yet"),
    (("run", "nope"), 1, "There is no workflow 'nope'"),
    (("push", "/no/such.yml"), 1, "/no/such.yml cannot be read (No such file or directory)"),
    (("push", "/"), 1, "/ cannot be read (Is a directory)"),
    (("status", "--server", NOWHERE), 1, f"The Lastgood server at {NOWHERE} does not answer (connection refused)"),
    (("--server", "127.0.0.1:1", "status"), 1, f"The Lastgood server at {NOWHERE} does not answer"),
    (("status", "--server", "ftp://x"), 2, "'ftp://x'"),
    (("status", "--server", "http://x:99999"), 2, "it is not an address such as http://127.0.0.1:8321"),
    (("pubish",), 2, "No such command 'pubish'. Did you mean 'publish'"),
    (("publish", SLUG), 2, "Missing argument 'VERSION'. Try `lastgood publish --help`."),
    (("mark", NEW, "good", "-m", "x"), 2, "'good' is not one of"),
    (("mark", NEW, "stable"), 2, "Missing option '--reason'"),
    (("versions", SLUG, "-n", "0"), 2, "greater than or equal to 1. Try"),
    (("versions", SLUG, "--jason"), 2, "No such option: --jason"),
    (("export", SLUG, OLD, "-o", "/no/such/file"), 1, "/no/such/file cannot be written"),
]


def _rows(home: Path) -> list[int]:
    """How much is kept: rows by table, reads in the audit log left out."""
    tables = ("workflow", "version", "snapshot", "channel", "move", "smoke", "app_key", "evidence", "outbox")
    store = sqlite3.connect(home / "lastgood.db")
    counts = [store.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]
    store.close()
    return counts


@pytest.mark.parametrize(("args", "code", "sentence"), WRONG, ids=[" ".join(args) for args, _, _ in WRONG])
def test_a_refusal(home: Path, lastgood: Run, args: tuple[str, ...], code: int, sentence: str) -> None:
    before = _rows(home)
    done = lastgood(*args)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("lastgood: ") and done.err.count("\n") == 1
    assert sentence in done.err
    assert "Traceback" not in done.err
    assert _rows(home) == before


def _deep(depth: int) -> str:
    return "app: {mode: workflow}\nworkflow: " + "[" * depth + "]" * depth


BROKEN = [
    (b"a: [1", "line 2, column 1: this is not YAML"),
    (b"\xff\xfe\x00", "it is not UTF-8 text"),
    (b"a: !!python/object:os.system {}", "A workflow document holds plain values only"),
    (b"app: {mode: workflow}\napp: {mode: workflow}", "stands twice in one mapping"),
    (b'{"app": ', "this is not JSON"),
    (b"hello", "Send a Dify app export"),
    (_deep(200).encode(), "the depth of nesting on line 2"),
]


@pytest.mark.parametrize(("content", "sentence"), BROKEN, ids=[sentence for _, sentence in BROKEN])
def test_a_broken_file(lastgood: Run, tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / "broken.yml"
    file.write_bytes(content)
    done = lastgood("push", file, "-w", "fresh")
    assert (done.code, done.out) == (1, "") and sentence in done.err and "broken.yml" in done.err
    assert lastgood("versions", "fresh").code == 1


def test_a_version_of_another_workflow(lastgood: Run, tmp_path: Path) -> None:
    other = lastgood("push", written(tmp_path, "hi"), "-w", "other", "--json").json["version"]["id"]
    for args in (("publish", SLUG, other), ("rollback", SLUG, "--to", other)):
        done = lastgood(*args)
        assert done.code == 1 and f"{other} is a version of other, not of {SLUG}" in done.err


def test_a_version_id_that_is_taken(lastgood: Run, tmp_path: Path) -> None:
    done = lastgood("push", written(tmp_path, "hi"), "-w", SLUG, "--version-id", OLD)
    assert done.code == 1 and f"The version id {OLD} is already taken" in done.err


def test_nothing_good_to_go_back_to(lastgood: Run) -> None:
    lastgood("mark", OLD, "candidate", "-m", "not so sure")
    done = lastgood("rollback", SLUG)
    assert done.code == 1 and "has no stable version to go back to" in done.err


def test_a_failed_version_is_a_target_only_by_force_and_with_a_reason(lastgood: Run) -> None:
    lastgood("mark", NEW, "failed", "-m", "wrong totals")
    assert "never a target" in lastgood("publish", SLUG, NEW).err
    assert "needs a reason" in lastgood("rollback", SLUG, "--to", NEW, "--force").err
    assert lastgood("rollback", SLUG, "--to", NEW, "--force", "-m", "the check was wrong").code == 0


def test_an_app_without_a_graph_is_kept_and_not_served(lastgood: Run, tmp_path: Path) -> None:
    file = tmp_path / "chat.yml"
    file.write_text(dsl.to_yaml(plain_chat()), encoding="utf-8")
    version = lastgood("push", file, "-w", "chat", "--json").json["version"]["id"]
    done = lastgood("publish", "chat", version)
    assert done.code == 1 and "chat app, which has no graph" in done.err


def test_a_document_of_another_mode(lastgood: Run, tmp_path: Path) -> None:
    file = tmp_path / "flow.yml"
    file.write_text(dsl.to_yaml(document(mode="advanced-chat")), encoding="utf-8")
    assert "a advanced-chat app, and prod-invoice is a workflow one" in lastgood("push", file, "-w", SLUG).err


def test_settings_that_make_no_sense_are_usage_errors(
    lastgood: Run, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("LASTGOOD_API_PORT", "http")
    done = lastgood("status")
    assert done.code == 2 and "The setting api_port cannot be 'http'" in done.err
    monkeypatch.delenv("LASTGOOD_API_PORT")
    (home / "lastgood.toml").write_text("server = [")
    assert lastgood("status").code == 2


def test_a_data_directory_that_cannot_be_made(lastgood: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LASTGOOD_HOME", str(tmp_path / "file" / "home"))
    done = lastgood("status")
    assert done.code == 1 and done.err.startswith("lastgood: The store ") and done.err.count("\n") == 1


def test_what_nobody_foresaw_is_no_traceback_unless_asked_for(lastgood: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(_: object) -> None:
        raise RuntimeError("secret-value")

    monkeypatch.setattr("lastgood.cli.documents.connect", breaks)
    done = lastgood("workflows")
    assert done.code == 1
    assert done.err == "lastgood: this should not happen (RuntimeError); LASTGOOD_DEBUG=1 shows where.\n"
    monkeypatch.setenv("LASTGOOD_DEBUG", "1")
    assert "Traceback" in lastgood("workflows").err


def test_ctrl_c_ends_with_130(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lastgood.cli.documents.connect", interrupted)
    assert main.run(["workflows"]) == 130
