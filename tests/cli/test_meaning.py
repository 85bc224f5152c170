"""Differences, lint, interface, dependencies, pins and numbers, as the command line tells them."""

from pathlib import Path

import pytest

from cli.conftest import LIVE, NEW, OLD, SLUG, Run, forked, written
from cli.test_moves import terminal


def test_live_against_the_newest_is_the_default(lastgood: Run) -> None:
    done = lastgood("diff", SLUG)
    assert done.code == 0
    assert done.lines[0].startswith(f"{LIVE} → {NEW}: 1 node changed")
    assert any("two {{ text }}" in line and "three {{ text }}" in line for line in done.lines)
    assert any("template-changed" in line for line in done.lines)


def test_two_named_versions_in_every_form(lastgood: Run) -> None:
    told = lastgood("diff", SLUG, OLD, NEW, "--json").json
    assert [change["tier"] for change in told["changes"]] == ["BEHAVIOUR"]
    assert lastgood("diff", SLUG, OLD, NEW, "--stat").lines[-1].strip() == told["summary"]
    assert "three" in lastgood("diff", SLUG, OLD, NEW, "--markdown").out


@pytest.mark.parametrize(("other", "code"), [("one {{ text }}", 0), ("four {{ text }}", 1)])
def test_two_files_need_no_store(lastgood: Run, tmp_path: Path, other: str, code: int) -> None:
    first = written(tmp_path, "one {{ text }}")
    folder = tmp_path / "other"
    folder.mkdir()
    assert lastgood("diff", first, written(folder, other), "--exit-code").code == code


def test_a_file_that_is_not_there_is_told_as_that(lastgood: Run, tmp_path: Path) -> None:
    here = written(tmp_path, "one {{ text }}")
    for what in (("diff", here, tmp_path / "gone.yml"), ("lint", tmp_path / "gone.yml")):
        done = lastgood(*what)
        assert done.code == 1
        assert f"{tmp_path / 'gone.yml'}: No such file or directory" in done.err


def test_a_secret_is_told_and_never_shown(lastgood: Run, tmp_path: Path) -> None:
    values = []
    for number, value in enumerate(("first-hidden-value", "second-hidden-value")):
        file = tmp_path / f"{number}.yml"
        text = written(tmp_path, "one {{ text }}").read_text(encoding="utf-8")
        variable = f"- {{id: k, name: API_KEY, value_type: secret, value: {value}}}"
        file.write_text(text.replace("environment_variables: []", f"environment_variables:\n  {variable}"))
        values.append(file)
    done = lastgood("diff", *values)
    assert "API_KEY" in done.out
    assert "hidden-value" not in done.out


SAYS = "Answer in {}, in three sentences.\\nAlways be kind."


@pytest.mark.parametrize(
    ("more", "removed", "added"),
    [
        (
            {},
            "Answer in \33[0m\33[31;7mGerman\33[0m\33[31m, in",
            "Answer in \33[0m\33[32;7mFrench\33[0m\33[32m, in",
        ),
        ({"NO_COLOR": "1"}, "- Answer in [-German-], in", "+ Answer in {+French+}, in"),
        ({"TERM": "dumb"}, "- Answer in [-German-], in", "+ Answer in {+French+}, in"),
    ],
)
def test_changed_words_stand_out(tmp_path: Path, more: dict[str, str], removed: str, added: str) -> None:
    files = []
    for language in ("German", "French"):
        (tmp_path / language).mkdir()
        text = written(tmp_path, "one {{ text }}").read_text(encoding="utf-8")
        files.append(tmp_path / language / "flow.yml")
        files[-1].write_text(text.replace("one {{ text }}", f'"{SAYS.format(language)}"'), encoding="utf-8")
    command = ["lastgood", "diff", *map(str, files)]
    with terminal(tmp_path, *command, engine=None, **more) as shown:
        assert shown.end() == 0
        assert removed in shown.seen
        assert added in shown.seen
    piped = forked(tmp_path, *command).out
    assert "- Answer in [-German-], in" in piped
    assert "\33" not in piped


def test_lint_tells_errors_by_its_exit_code(lastgood: Run, tmp_path: Path) -> None:
    sound = written(tmp_path, "one {{ text }}")
    broken = written(tmp_path, "broken {{ text")
    assert lastgood("lint", sound).code == 0
    done = lastgood("lint", broken, "--format", "github")
    assert done.code == 1
    broken_at = broken.read_text(encoding="utf-8").splitlines().index("        template: broken {{ text") + 1
    assert done.out.startswith(f"::error file={broken},line={broken_at},title=")
    assert lastgood("lint", broken).out.startswith(f"{broken}:{broken_at}: error ")
    assert lastgood("lint", NEW).code == 0
    assert lastgood("lint", sound, "--format", "github").out == ""
    assert lastgood("lint", sound, "--allow", "no-such-rule").code == 2


def test_interface_and_dependencies_of_a_version(lastgood: Run) -> None:
    schema = lastgood("interface", SLUG, NEW).json
    assert schema["inputs"]["properties"]["text"]["maxLength"] == 99
    assert "said" in schema["outputs"]["properties"]
    assert lastgood("deps", SLUG, NEW, "--json").json["models"] == []
    assert lastgood("deps", "other", NEW).code == 1


def test_a_pin_holds_and_can_be_taken_away(lastgood: Run) -> None:
    assert lastgood("pin", OLD).code == 0
    assert lastgood("show", OLD, "--json").json["pinned"] is True
    assert lastgood("pin", OLD, "--off").code == 0
    assert lastgood("show", OLD, "--json").json["pinned"] is False


def test_a_tag_names_one_version(lastgood: Run) -> None:
    assert lastgood("tag", NEW, "2.0.0").code == 0
    done = lastgood("tag", OLD, "2.0.0")
    assert done.code == 1
    assert f"already taken by {NEW}" in done.err
    assert lastgood("tag", OLD, "two").code == 1


def test_publish_numbers_by_what_changed(lastgood: Run) -> None:
    done = lastgood("publish", SLUG, NEW)
    assert done.code == 0
    assert done.lines[1].startswith("SemVer 1.1.1 (patch): template-changed:")


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (("--semver", "3.0.0"), 0, "SemVer 3.0.0"),
        (("--semver", "1.1.0"), 1, "1.1.0 is lower than 1.1.1"),
        (("--semver", "1.0.9", "--force"), 1, "1.0.9 is lower than 1.1.1"),
        (("--semver", "1.0.9", "--force", "--reason", "a back-port"), 0, "SemVer 1.0.9"),
    ],
)
def test_a_person_may_raise_the_number(lastgood: Run, given: tuple[str, ...], code: int, said: str) -> None:
    done = lastgood("publish", SLUG, NEW, *given)
    assert done.code == code
    assert said in done.out + done.err


RAISED = {"LASTGOOD_RULES": '{"template-changed": "breaking"}'}


def test_a_setting_raises_what_a_difference_means(lastgood: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def severities(*what: object) -> set[tuple[str, str]]:
        told = lastgood("diff", *what, "--json").json["changes"]
        return {(change["severity"], change["tier"]) for change in told}

    files = written(home.parent, "one {{ text }}"), written(home.parent, "two {{ text }}")
    assert severities(*files) == severities(SLUG, OLD, NEW) == {("info", "BEHAVIOUR")}
    (home / "lastgood.toml").write_text('[rules]\ntemplate-changed = "INTEGRATION"\n')
    assert severities(*files) == severities(SLUG, OLD, NEW) == {("info", "INTEGRATION")}
    monkeypatch.setenv("LASTGOOD_RULES", RAISED["LASTGOOD_RULES"])
    assert severities(*files) == severities(SLUG, OLD, NEW) == {("breaking", "BEHAVIOUR")}


def test_a_setting_raises_the_number_of_a_publish(lastgood: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LASTGOOD_RULES", RAISED["LASTGOOD_RULES"])
    done = lastgood("publish", SLUG, NEW)
    assert done.code == 0
    assert done.lines[1].startswith("SemVer 2.0.0 (major): template-changed:")


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ('{"no-such-rule": "breaking"}', "rules.no-such-rule cannot be 'breaking': there is no change rule"),
        ('{"output-removed": "info"}', "rules.output-removed cannot be 'info': the rule is breaking"),
        ('{"template-changed": "LAYOUT"}', "rules.template-changed cannot be 'LAYOUT': the rule is BEHAVIOUR"),
        ("template-changed=breaking", "LASTGOOD_RULES cannot be '…': it is a table"),
    ],
)
def test_a_setting_that_lowers_a_rule_is_refused(
    lastgood: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rules: str, said: str
) -> None:
    monkeypatch.setenv("LASTGOOD_RULES", rules)
    file = written(tmp_path, "one {{ text }}")
    for what in (("diff", file, file), ("diff", SLUG), ("publish", SLUG, NEW)):
        done = lastgood(*what)
        assert done.code == 2
        assert said in done.err
        assert done.err.count("\n") == 1
