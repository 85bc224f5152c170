"""The systemd listener, against a systemctl that answers as the real one does."""

from typing import Any

import pytest

from lastgood.catalogue import Listener
from lastgood.release import listeners
from release.listeners.conftest import Tool
from release.notices import NEW, OLD, notice

UNIT, BOTH = "invoice.service", "invoice@{version}.service"
OLDS, NEWS = f"invoice@{OLD}.service", f"invoice@{NEW}.service"


def listener(unit: str, **more: Any) -> Listener:
    return Listener(kind="systemd", unit=unit, **more)


@pytest.mark.parametrize(
    ("world", "outcome", "detail"),
    [
        ({UNIT: {}}, "acknowledged", f"{UNIT} is active"),
        ({UNIT: {"then": ["activating", "activating", "active"]}}, "acknowledged", f"{UNIT} is active"),
        ({UNIT: {"then": ["reloading"]}}, "acknowledged", f"{UNIT} is reloading"),
        ({UNIT: {"then": ["active", "failed"]}}, "failed", f"{UNIT} failed; look at journalctl -u {UNIT}"),
        ({UNIT: {"then": ["active", "activating", "active"]}}, "acknowledged", f"{UNIT} is active"),
        (
            {UNIT: {"then": ["inactive"]}},
            "failed",
            f"{UNIT} is inactive: it has ended (a oneshot unit needs RemainAfterExit=yes)",
        ),
        (
            {UNIT: {"broken": True}},
            "failed",
            f"systemctl restart {UNIT} ended with exit code 1: "
            f"Job for {UNIT} failed because the control process exited with error code.",
        ),
        (
            {},
            "failed",
            f"systemctl restart {UNIT} ended with exit code 5: Failed to restart {UNIT}: Unit {UNIT} not found.",
        ),
    ],
)
def test_a_unit_is_restarted_and_must_become_active(
    systemctl: Tool, world: dict[str, Any], outcome: str, detail: str
) -> None:
    systemctl.world = world
    told = listeners.tell("unit", listener(UNIT), notice())
    assert (told.name, told.outcome, told.detail) == ("unit", outcome, detail)
    assert systemctl.calls[0] == f"restart {UNIT}"


def test_a_unit_that_does_not_come_up_in_time_has_timed_out(systemctl: Tool) -> None:
    systemctl.world = {UNIT: {"then": ["activating"]}}
    told = listeners.tell("unit", listener(UNIT, timeout=1.0), notice())
    assert (told.outcome, told.detail) == ("timed out", f"{UNIT} is still activating")


def test_the_unit_of_the_old_version_is_stopped_first(systemctl: Tool) -> None:
    systemctl.world = {OLDS: {}, NEWS: {"states": ["active"]}}
    told = listeners.tell("unit", listener(BOTH), notice())
    assert (told.outcome, told.detail) == ("acknowledged", f"{OLDS} is active")
    assert systemctl.calls[:2] == [f"stop {NEWS}", f"restart {OLDS}"]
    assert systemctl.world[NEWS]["states"] == ["inactive"]


@pytest.mark.parametrize("before", [None, OLD, NEW])
def test_a_unit_that_is_not_there_needs_no_stopping(systemctl: Tool, before: str | None) -> None:
    systemctl.world = {OLDS: {}}
    told = listeners.tell("unit", listener(BOTH), notice(from_version=before))
    assert told.outcome == "acknowledged"
    assert (f"stop {NEWS}" in systemctl.calls) == (before == NEW)


def test_systemctl_that_is_missing_or_hangs_is_named(monkeypatch: pytest.MonkeyPatch, install: Any) -> None:
    install("systemctl", "import time; time.sleep(60)")
    told = listeners.tell("unit", listener(UNIT, timeout=0.3), notice())
    assert told.outcome == "timed out" and told.detail.startswith(f"systemctl restart {UNIT} was stopped: ")
    monkeypatch.setenv("PATH", "/nowhere")
    told = listeners.tell("unit", listener(UNIT), notice())
    assert (told.outcome, told.detail) == ("failed", "systemctl did not start: there is no systemctl on the PATH")


def test_where_systemd_does_not_run_its_words_are_the_answer(install: Any) -> None:
    words = "System has not been booted with systemd as init system (PID 1). Can't operate."
    install("systemctl", f"end(1, {words!r})")
    told = listeners.tell("unit", listener(UNIT), notice())
    assert (told.outcome, told.detail) == ("failed", f"systemctl restart {UNIT} ended with exit code 1: {words}")
