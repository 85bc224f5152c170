"""What hooks and listeners are told, in tests, and small programs for them to run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from lastgood.release.means import Notice

OLD, NEW = "v-20260401-01", "v-20260401-02"

NOTICE = Notice(
    operation="op-k3x9w2",
    key="op-k3x9w2:listeners:web",
    kind="rollback",
    direction="forward",
    workflow_id="wf-abc123",
    workflow="prod-invoice",
    channel="live",
    from_version=NEW,
    to_version=OLD,
    generation=7,
    actor="alice",
    reason="wrong totals",
)


def notice(**more: Any) -> Notice:
    """`NOTICE` with something else in it."""
    return replace(NOTICE, **more)


def program(path: Path, text: str, mode: int = 0o755) -> str:
    """An executable file that holds `text`; its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    path.chmod(mode)
    return str(path)
