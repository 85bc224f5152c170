"""A Git repository that each checkpoint is committed to, and pushed from if wanted: its history is their list."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lastgood.access.log.destinations.delivery import SECONDS, Delivery
from lastgood.db.audit import masked
from lastgood.errors import CheckpointNotSent

_FILE = "checkpoint"
_AUTHOR = ("-c", "user.name=lastgood", "-c", "user.email=lastgood@localhost", "-c", "commit.gpgsign=false")


@dataclass(frozen=True, slots=True)
class Git:
    """The repository whose work tree is `path`."""

    path: Path
    push: bool

    @property
    def name(self) -> str:
        """How it is called."""
        return f"git {self.path}"

    def send(self, delivery: Delivery) -> None:
        """Write the note into the file `checkpoint`, commit it where it changed, and push."""
        said = delivery.checkpoint
        self._git("rev-parse", "--git-dir")
        try:
            scratch = self.path / f".{_FILE}.new"
            scratch.write_text(delivery.note, encoding="utf-8")
            scratch.replace(self.path / _FILE)
        except OSError as error:
            raise CheckpointNotSent(destination=self.name, reason=error.strerror or str(error)) from None
        self._git("add", "--", _FILE)
        if self._git("status", "--porcelain", "--", _FILE):
            message = f"Checkpoint of {said.size} rows\n\n{said.origin}, root {said.root.hex()}"
            self._git(*_AUTHOR, "commit", "--quiet", "--message", message, "--", _FILE)
        if self.push:
            self._git("push", "--quiet")

    def _git(self, *arguments: str) -> str:
        command = ("git", "-C", str(self.path), *arguments)
        environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        for variable in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):  # of somebody who called us from a hook
            environment.pop(variable, None)
        try:
            done = subprocess.run(  # noqa: S603 - no shell, and the arguments are ours
                command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            reason = f"`git {arguments[0]}` took more than {SECONDS:g} s"
        except OSError as error:
            reason = f"git cannot be run ({error.strerror})"
        else:
            if done.returncode == 0:
                return done.stdout.decode(errors="replace")
            said = done.stderr.decode(errors="replace").strip().splitlines()
            word = next(one for one in arguments if one in ("rev-parse", "add", "status", "commit", "push"))
            reason = f"`git {word}` ended with {done.returncode}: {masked(said[-1])[:200] if said else 'no word'}"
        raise CheckpointNotSent(destination=self.name, reason=reason)
