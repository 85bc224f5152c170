"""What each command prints: for people, and for programs."""

import json
import re
from pathlib import Path

import pytest

from cli.conftest import LIVE, NEW, OLD, SLUG, WORKFLOW, Run, written
from lastgood import dsl

# A command line, and patterns that its output has, in this order.
SAID: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    (("--version",), (r"^lastgood \d+\.\d+",)),
    (
        ("versions", SLUG),
        (
            r"^version +semver +state",
            rf"{NEW} .*candidate .*not yet",
            rf"{LIVE} +1\.1\.0 +active .* bob ",
            rf"{OLD} +1\.0\.0 +stable",
        ),
    ),
    (("versions", WORKFLOW, "-n", "1"), (rf"{NEW}",)),
    (
        ("versions", SLUG, "--wide"),
        (r"proven +channels +authored +origin +parent +snapshot", rf"{LIVE}.*{OLD} +snap_"),
    ),
    (
        ("show", OLD),
        (rf"version +{OLD}", r"state +stable", r"graph +3 nodes, 2 edges", r"mark +stable +alice .*checked by hand"),
    ),
    (("workflows",), (rf"{SLUG} +{WORKFLOW} +workflow +engine +live {LIVE} +{NEW}",)),
    (("log", SLUG), (rf"publish +{OLD} +{LIVE} +2 +alice +better", rf"publish +- +{OLD} +1 +alice +go")),
    (("status",), (rf"^Not proven: live of {SLUG} serves {LIVE}", rf"{SLUG} +live +{LIVE} +candidate .* {OLD} +\+1")),
    (
        ("changes", "--since", "1h"),
        (rf"workflow:publish .*{OLD} → {LIVE}", r"version:mark .*stable", "workflow:create"),
    ),
    (("doctor",), (r"^verdict +check", r"ok +store", rf"warn +{SLUG} live .*not proven")),
    (("mark", NEW, "failed", "--reason", "wrong"), (rf"^{NEW} is failed$",)),
    (("mark", LIVE, "stable", "-m", "seen"), (rf"^{LIVE} is stable; live of {SLUG} points to it$",)),
    (("snapshot", SLUG, "-m", "before"), (rf"^snap_\d+_v\d+  of {LIVE}  sha256:[0-9a-f]{{12}}…$",)),
    (("snapshots", SLUG), (rf"snap_\S+ +{NEW}", rf"snap_\S+ +{OLD} .*by itself")),
    (("restore", OLD), (rf"^{OLD} of {SLUG} is at hand$",)),
    (
        ("publish", SLUG, NEW),
        (rf"^live of {SLUG}: {LIVE} → {NEW} \(generation 3\), \d+\.\d ms; not proven: it has no smoke",),
    ),
    (("publish", SLUG, NEW, "--channel", "staging"), (rf"^staging of {SLUG}: nothing → {NEW} \(generation 1\)",)),
    (("rollback", SLUG), (rf"^live of {SLUG}: {LIVE} → {OLD} \(generation 3\), \d+\.\d ms",)),
    (("rollback", SLUG, "--to", NEW, "--yes"), (rf"{LIVE} → {NEW} ",)),
    (
        ("smoke", "add", SLUG, "-i", "text=a", "--expect", 'outputs.said == `"one a"`'),
        (rf"^smoke-\w+  {SLUG}  1 expectation$",),
    ),
    (("key", "create", SLUG, "--name", "web"), (r"^app-\S{16,}$",)),
]


@pytest.mark.parametrize(("args", "patterns"), SAID, ids=[" ".join(args) for args, _ in SAID])
def test_a_command_says_what_it_did(lastgood: Run, args: tuple[str, ...], patterns: tuple[str, ...]) -> None:
    done = lastgood(*args)
    assert done.code == 0, done.err
    place = 0
    for pattern in patterns:
        found = re.compile(pattern, re.MULTILINE).search(done.out, place)
        assert found, f"{pattern} not in {done.out[place:]}"
        place = found.end()


LISTS = [
    ("versions", SLUG),
    ("workflows",),
    ("log", SLUG),
    ("changes",),
    ("doctor",),
    ("snapshots", SLUG),
    ("smoke", "list", SLUG),
    ("key", "list", SLUG),
]


@pytest.mark.parametrize("args", LISTS, ids=" ".join)
def test_every_list_is_a_json_array_when_asked(lastgood: Run, args: tuple[str, ...]) -> None:
    done = lastgood(*args, "--json")
    assert done.code == 0 and isinstance(done.json, list)
    assert done.err == ""


@pytest.mark.parametrize("args", LISTS, ids=" ".join)
def test_a_piped_list_is_plain(lastgood: Run, args: tuple[str, ...], tmp_path: Path) -> None:
    """No colours, no frames, nothing cut, however long: what stands in it can be searched and copied."""
    long = "a note that is " + "very " * 60 + "long"
    lastgood("push", written(tmp_path, "other {{ text }}"), "-w", SLUG, "-m", long)
    lastgood("key", "create", SLUG, "--name", "web")
    lastgood("smoke", "add", SLUG, "-i", "text=a\nb", "--expect", "outputs.said")
    done = lastgood(*args)
    assert done.code == 0 and len(done.lines) > 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u2500-\u257f]", done.out)
    assert all(line == line.rstrip() for line in done.lines)
    if args[0] == "versions":
        assert long in done.out


def test_columns_stand_under_their_headings(lastgood: Run) -> None:
    head, *rows = lastgood("log", SLUG).lines
    at = head.index("from")
    assert [row[at:].split()[0] for row in rows] == [OLD, "-"]


@pytest.mark.parametrize(
    "args",
    [
        ("status",),
        ("show", OLD),
        ("mark", NEW, "stable", "-m", "x"),
        ("restore", OLD),
        ("snapshot", SLUG),
        ("publish", SLUG, NEW),
        ("rollback", SLUG),
        ("smoke", "add", SLUG),
        ("key", "create", SLUG, "--name", "web"),
    ],
    ids=" ".join,
)
def test_the_answer_is_a_json_object_when_asked(lastgood: Run, args: tuple[str, ...]) -> None:
    done = lastgood(*args, "--json")
    assert done.code == 0 and isinstance(done.json, dict)


def test_push_keeps_a_document_once(lastgood: Run, tmp_path: Path) -> None:
    file = written(tmp_path, "four {{ text }}")
    first, again = lastgood("push", file, "-w", SLUG), lastgood("push", file, "-w", SLUG)
    assert re.fullmatch(rf"v-\d{{8}}-01  candidate  {SLUG}  sha256:[0-9a-f]{{12}}…\n", first.out)
    assert again.out == f"{SLUG} already has this as {first.out.split()[0]}; nothing was saved\n"
    assert len(lastgood("versions", SLUG, "--json").json) == 4


def test_push_names_a_workflow_after_its_app(lastgood: Run, tmp_path: Path) -> None:
    done = lastgood("push", written(tmp_path, "hi", name="Answer Desk!"))
    assert "  answer-desk  " in done.out
    given = lastgood("push", written(tmp_path, "ho", name="Other"), "--id", "wf-zz99zz", "--json").json
    assert (given["workflow"]["id"], given["workflow"]["slug"]) == ("wf-zz99zz", "other")
    # An id names the workflow from then on, whatever the app is called meanwhile.
    renamed = lastgood("push", written(tmp_path, "hu", name="Renamed"), "--id", "wf-zz99zz", "--json").json
    assert renamed["workflow"]["slug"] == "other" and renamed["created"]


def test_push_reads_standard_input(lastgood: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with written(tmp_path, "piped").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert lastgood("push", "-", "-w", SLUG).code == 0


def test_push_takes_over_facts_from_elsewhere(lastgood: Run, tmp_path: Path) -> None:
    args = (
        "--author",
        "carol",
        "--authored-at",
        "2023-05-06T07:08:09Z",
        "--version-id",
        "v-20230506-07",
        "-m",
        "old",
    )
    version = lastgood("push", written(tmp_path, "old"), "-w", SLUG, *args, "--json").json["version"]
    assert (version["id"], version["author"], version["note"]) == ("v-20230506-07", "carol", "old")
    assert version["authored_at"].startswith("2023-05-06T07:08:09")


def test_push_says_which_secrets_have_no_value(lastgood: Run, tmp_path: Path) -> None:
    from support.documents import document

    file = tmp_path / "secret.yml"
    file.write_text(dsl.to_yaml(document(secrets={"API_KEY": None, "OTHER": "known"})), encoding="utf-8")
    done = lastgood("push", file, "-w", "sealed")
    assert done.code == 0
    assert "no value is known for the secret variables API_KEY;" in done.err
    assert "known" not in done.out


def test_an_exported_version_is_the_same_version(lastgood: Run, tmp_path: Path) -> None:
    whole = lastgood("export", SLUG, OLD)
    assert whole.code == 0 and whole.err == ""
    file = tmp_path / "out.json"
    assert lastgood("export", SLUG, OLD, "--format", "json", "-o", file).out == ""
    for copy in (whole.out, file.read_text()):
        (tmp_path / "again").write_text(copy)
        pushed = lastgood("push", tmp_path / "again", "-w", f"copy-{len(copy)}", "--json").json
        original = lastgood("show", OLD, "--json").json
        assert pushed["version"]["semantic_digest"] == original["semantic_digest"]


def test_export_without_a_version_gives_the_live_one(lastgood: Run) -> None:
    assert lastgood("export", SLUG).out == lastgood("export", SLUG, LIVE).out != lastgood("export", SLUG, NEW).out


def test_export_gives_the_bytes_of_the_api(lastgood: Run, tmp_path: Path) -> None:
    lastgood("push", written(tmp_path, "grün € 漢字 {{ text }}"), "-w", "words")
    assert "grün € 漢字" in lastgood("export", "words").out


def test_a_definition_read_from_the_api_can_be_pushed(lastgood: Run, tmp_path: Path) -> None:
    """The file that the API gives names its workflow, and its digest is the same again."""
    version = lastgood("show", LIVE, "--json").json
    document = lastgood("export", SLUG, LIVE, "--format", "json").json
    file = tmp_path / "backup_prod_invoice.json"
    file.write_text(json.dumps({"slug": SLUG, "document": document}))
    pushed = lastgood("push", file, "--json").json
    assert pushed["version"]["workflow"] == SLUG and pushed["version"]["digest"] == version["digest"]


def test_a_snapshot_by_hand_is_shown(lastgood: Run) -> None:
    kept = lastgood("snapshot", SLUG, "--version", OLD, "-m", "before the migration", "--json").json
    assert kept["versions"] == [OLD] and kept["workflow_config"]["nodes"] == ["begin", "say", "done"]
    shown = lastgood("show", kept["snapshot_id"])
    assert "before the migration" in shown.out and OLD in shown.out
    assert kept["snapshot_id"] in lastgood("snapshots", SLUG).out


def test_archived_versions_are_listed_and_restored(
    lastgood: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LASTGOOD_RETENTION", "1")
    done = lastgood("push", written(tmp_path, "newest"), "-w", SLUG)
    assert f"archived, as older than the newest ones: {NEW}" in done.err
    assert re.search(rf"{NEW} .*archived", lastgood("versions", SLUG).out)
    assert lastgood("restore", NEW).out == f"{NEW} of {SLUG} is at hand\n"
    assert not re.search(rf"{NEW} .*archived", lastgood("versions", SLUG).out)


def test_smoke_requests_are_kept_listed_and_removed(lastgood: Run, tmp_path: Path) -> None:
    inputs = tmp_path / "in.json"
    inputs.write_text('{"text": "from a file", "count": 1}')
    args = ("--input", f"@{inputs}", "--input", "count=2", "--expect", "outputs.said", "--max-ms", "500")
    kept = lastgood("smoke", "add", SLUG, *args, "--json").json
    # The form says that `count` is a number; text that looks like one stays text.
    assert kept["inputs"] == {"text": "from a file", "count": 2} and kept["max_ms"] == 500
    assert lastgood("smoke", "add", SLUG, "-i", "text=42", "--json").json["inputs"] == {"text": "42"}
    assert f"{kept['id']}  outputs.said  500 ms" in lastgood("smoke", "list", SLUG).out
    assert lastgood("smoke", "remove", SLUG, kept["id"]).out == f"{kept['id']} of {SLUG} is forgotten\n"
    assert [one["inputs"] for one in lastgood("smoke", "list", SLUG, "--json").json] == [{"text": "42"}]


def test_an_app_key_is_shown_once(lastgood: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = lastgood("key", "create", SLUG, "--name", "web")
    value = made.out.strip()
    assert "not shown again" in made.err
    assert value not in lastgood("key", "list", SLUG, "--json").out
    assert "web" in lastgood("key", "list", SLUG).out
    assert lastgood("key", "revoke", SLUG, "web").out == f"web of {SLUG} is revoked\n"
    assert "web" not in lastgood("key", "list", SLUG).out
    assert re.search(r"web .*revoked", lastgood("key", "list", SLUG, "--all").out)

    (tmp_path / "key").write_text("app-0123456789abcdef\n")
    with (tmp_path / "key").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert lastgood("key", "create", SLUG, "--name", "old", "--take-over").out == "app-0123456789abcdef\n"


def test_token_reset_makes_a_token_that_opens_the_api(lastgood: Run, home: Path) -> None:
    from lastgood.access import tokens
    from lastgood.db.store import open_store
    from lastgood.settings import load

    first, second = (lastgood("token", "reset").out.strip() for _ in range(2))
    store = open_store(load())
    with store.read() as tx:
        found = tokens.owner(tx, second)
        assert tokens.owner(tx, first) is None and found is not None and found.name == "admin"
    store.close()


def test_empty_lists_say_so_and_print_nothing(lastgood: Run) -> None:
    for args, word in ((("key", "list", SLUG), "app keys"), (("smoke", "list", SLUG), "smoke requests")):
        done = lastgood(*args)
        assert (done.code, done.out) == (0, "") and word in done.err


def test_a_long_list_comes_in_pages(lastgood: Run, tmp_path: Path) -> None:
    for number in range(1, 6):
        lastgood("push", written(tmp_path, f"page{number}"), "-w", "pages")
    found = lastgood("versions", "pages", "-n", "4", "--json").json
    assert [one["note"] for one in found] == [""] * 4
    assert len({one["id"] for one in found}) == 4


def test_who_did_it_is_the_user(lastgood: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "zoë")  # a header carries ASCII only
    assert lastgood("publish", SLUG, NEW).code == 0
    assert lastgood("log", SLUG, "--json").json[0]["actor"] == "zo?"


def test_control_characters_of_a_note_reach_no_terminal(lastgood: Run, tmp_path: Path) -> None:
    lastgood("push", written(tmp_path, "evil"), "-w", SLUG, "-m", "a\x1b[2Jb\nc\x07d")
    out = lastgood("versions", SLUG).out
    assert "a [2Jb c d" in out and "\x1b" not in out and "\x07" not in out


def test_apps_that_ascii_cannot_name_do_not_fall_on_one_workflow(lastgood: Run, tmp_path: Path) -> None:
    done = lastgood("push", written(tmp_path, "five {{ text }}", name="发票录入"))
    assert done.code == 1
    assert "'发票录入'; give one with --workflow NAME" in done.err
    pushed = lastgood("push", tmp_path / "five.yml", "--id", "wf-zh0001", "--json").json
    assert pushed["workflow"]["slug"] == "app-zh0001"
