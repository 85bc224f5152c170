"""Hooks: what a plan runs before and after a move."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lastgood.catalogue import Hook
from lastgood.dsl.mask import Mask
from lastgood.release import commands
from lastgood.release.means import Notice
from lastgood.release.output import named_secrets


@dataclass(frozen=True, slots=True)
class HookRun:
    """How a hook ended. `code` is None where it did not start, negative where a signal ended it; `output` has what it
    printed (capped, secrets masked); `sentence` says it to people."""

    phase: str
    code: int | None
    timed_out: bool
    output: str
    elapsed_ms: float
    sentence: str

    @property
    def good(self) -> bool:
        """Whether it did what it should: it ended by itself with exit code 0."""
        return self.code == 0 and not self.timed_out

    def as_data(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "phase": self.phase,
            "good": self.good,
            "code": self.code,
            "timed_out": self.timed_out,
            "output": self.output,
            "elapsed_ms": round(self.elapsed_ms, 1),
            "sentence": self.sentence,
        }


def run(hook: Hook, notice: Notice, phase: str, *, secrets: Iterable[str] = ()) -> HookRun:
    """Run `hook` in a phase such as ``pre_rollback`` and wait for it. Never raises for what it does.

    It learns of the move by ``LASTGOOD_*`` variables (`LASTGOOD_PHASE` is the phase) and by the same as JSON on
    standard input. `LASTGOOD_IDEMPOTENCY_KEY` is the same at every attempt. Of the server's environment it gets PATH
    and HOME only. `secrets` are masked in its output, as is what looks like a secret."""
    mask = Mask([*secrets, *named_secrets(hook.environment.items())])
    ended = commands.run(
        hook.command,
        commands.environment(notice, hook.environment, LASTGOOD_PHASE=phase),
        timeout=hook.timeout,
        mask=mask,
        given=json.dumps({**notice.as_data(), "phase": phase}).encode(),
    )
    sentence = mask.text(f"The {phase.replace('_', '-')} hook {hook.command[0]} {ended.sentence}.")
    return HookRun(phase, ended.code, ended.timed_out, ended.output, ended.elapsed_ms, sentence)
