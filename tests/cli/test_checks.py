"""`lastgood verify`: the checklist on the embedded engine, and beside a server's answer."""

from typing import Any

import pytest

from cli.conftest import LIVE, SLUG, Run
from lastgood.cli import checks
from lastgood.cli.checks import _show


def check(name: str, verdict: str, found: str, **more: Any) -> dict[str, Any]:
    return {
        "check": name,
        "subject": "",
        "verdict": verdict,
        "expected": "so",
        "found": found,
        "elapsed_ms": 1.0,
        "required": True,
        **more,
    }


def report(verdict: str, *found: dict[str, Any], channel: str = "live") -> dict[str, Any]:
    return {
        "workflow": SLUG,
        "channel": channel,
        "version": LIVE,
        "generation": 2,
        "state": "stable",
        "verdict": verdict,
        "sentence": "it is told here",
        "checks": list(found),
        "markdown": "# As it is\n",
    }


@pytest.mark.usefixtures("kept_engine")
def test_what_is_live_is_checked_on_the_engine(lastgood: Run) -> None:
    pytest.importorskip("graphon")
    lastgood("smoke", "add", SLUG, "--input", "text=you", "--expect", "outputs.said == 'two you'")
    done = lastgood("verify", SLUG)
    assert done.code == 0, done.err
    assert done.lines[0].startswith(f"WELL: live of {SLUG} serves {LIVE} (generation 2, stable);")
    shown = {line.split()[0]: line for line in done.lines[2:]}
    assert "pass" in shown["smoke"] and "as expected" in shown["smoke"]
    assert f"got {LIVE} at generation 2" in shown["pointer"] or "active" in shown["pointer"]

    lastgood("smoke", "add", SLUG, "--expect", "outputs.said == 'one'")
    failed = lastgood("verify", SLUG)
    assert failed.code == 3
    assert "outputs.said == 'one' is not true (got \"two" in failed.out
    assert f"go back with: lastgood rollback {SLUG}" in failed.err
    assert lastgood("show", LIVE, "--json").json["proven"] == "stable", "verifying condemns nothing"
    kept = lastgood("show", LIVE, "--json").json["evidence"]
    outcomes = [piece["verdict"] for piece in kept if piece["kind"] == "verification"]
    assert outcomes[:2] == ["failed", "passed"]  # the newest first; the publish kept its own


def test_a_channel_that_points_to_nothing_or_is_not_there(lastgood: Run) -> None:
    missing = lastgood("verify", SLUG, "--channel", "staging")
    assert missing.code == 1 and "has no channel 'staging'" in missing.err
    assert lastgood("verify", "nobody").code == 1


def test_two_forms_at_once_are_refused(lastgood: Run) -> None:
    done = lastgood("verify", SLUG, "--json", "--markdown")
    assert done.code == 1 and "not both" in done.err


@pytest.fixture
def answered(lastgood: Run, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the command makes of a server's answer."""

    def run(answer: dict[str, Any], *args: str) -> Any:
        asked: list[Any] = []

        class Api:
            def __enter__(self) -> "Api":
                return self

            def __exit__(self, *_: object) -> None:
                pass

            def post(self, *path: str, params: dict[str, Any]) -> dict[str, Any]:
                asked.append((path, params))
                return answer

        monkeypatch.setattr(checks, "connect", lambda _: Api())
        done = lastgood("verify", SLUG, *args)
        assert asked == [(("workflows", SLUG, "verify"), {"channel": answer["channel"]})]
        return done

    return run


@pytest.mark.parametrize(
    ("verdict", "code", "word"),
    [
        ("passed", 0, "WELL"),
        ("failed", 3, "NOT WELL"),
        ("inconclusive", 1, "NOT KNOWN"),
        ("none", 1, "NOTHING CHECKED"),
        ("something new", 1, "NOTHING CHECKED"),
    ],
)
def test_the_exit_code_says_how_it_is(answered: Any, verdict: str, code: int, word: str) -> None:
    done = answered(report(verdict))
    assert done.code == code
    assert done.lines[0] == f"{word}: live of {SLUG} serves {LIVE} (generation 2, stable); it is told here"
    assert answered(report(verdict), "--json").code == code
    assert answered(report(verdict), "--markdown").out == "# As it is\n"


def test_what_is_not_well_is_said_on_standard_error(answered: Any) -> None:
    done = answered(
        report(
            "failed",
            check("pointer", "fail", "got v-1", expected="want v-2", subject="live"),
            check("data", "unknown", "away"),
            check("workers", "fail", "failed", subject="listener x", required=False),
            check("health", "pass", "200"),
            channel="staging",
        ),
        "--channel",
        "staging",
    )
    assert done.err.splitlines() == [
        "lastgood: pointer live: got v-1; want v-2",
        "lastgood: data: away; want so",
        f"lastgood: go back with: lastgood rollback {SLUG} --channel staging",
    ]
    assert [line.split("  ")[0] for line in done.lines[1:]] == [
        "check",
        "pointer live",
        "data",
        "workers listener x",
        "health",
    ]
    assert "fail, told only" in done.lines[4]


def test_what_a_stranger_wrote_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    _show(report("failed", check("x", "fail", "a\x1b[31m\r\nb", expected="c\x1bd")))
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err and "\r" not in out + err
