"""The command that lists what starts a workflow."""

from pathlib import Path

from cli.conftest import SLUG, Run
from lastgood import dsl
from support.triggered import triggered


def push(lastgood: Run, folder: Path, text: str, **more: bool) -> str:
    file = folder / f"{text}.yml"
    file.write_text(dsl.to_yaml(triggered(text, **more)), encoding="utf-8")  # type: ignore[arg-type]  # its own
    version = lastgood("push", str(file), "--workflow", "hooky", "--json").json["version"]["id"]
    assert lastgood("publish", "hooky", version, "--no-verify").code == 0
    return str(version)


def test_triggers_are_listed(lastgood: Run, tmp_path: Path) -> None:
    one = push(lastgood, tmp_path, "one")
    hook, every = lastgood("triggers", "hooky").lines[1:]
    assert hook.split()[:6] == ["webhook", "hook", "live", "bound", one, "1"]
    assert "/triggers/webhook/" in hook
    assert every.split()[:4] == ["schedule", "every", "live", "bound"]
    assert "0 9 * * * UTC" in every
    push(lastgood, tmp_path, "two", hook=False)
    hook, _ = lastgood("triggers", "hooky", "--json").json
    assert (hook["state"], hook["version"]) == ("unbound", None)


def test_a_workflow_without_triggers_says_so(lastgood: Run) -> None:
    done = lastgood("triggers", SLUG)
    assert (done.code, done.out) == (0, "")
    assert "no triggers" in done.err
