"""`lastgood emergency-kit`: files for the day on which Lastgood is down."""

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lastgood.cli import output
from lastgood.cli.client import connect
from lastgood.cli.parameters import Channel, Json, Workflow, complete_version, given
from lastgood.errors import InvalidRequest

_FACTS, _SCRIPT, _UNFINISHED = "kit.json", "rollback.py", "unfinished.json"


def emergency_kit(
    ctx: typer.Context,
    workflow: Workflow,
    folder: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write it.")],
    to: Annotated[
        str | None,
        typer.Option("--to", help="The version in it; else the last good one.", autocompletion=complete_version),
    ] = None,
    channel: Channel = "live",
    force: Annotated[bool, typer.Option("--force", help="Also over another kit or other files.")] = False,
    as_json: Json = False,
) -> None:
    """Write a folder that rolls a Dify app back while Lastgood is down: a script, a document, and how to use them.

    Keep it where it can be reached when this machine cannot, and write it again after each release: the same app's
    kit is renewed in place. Secret values are not in it.

    \b
    Examples:
      lastgood emergency-kit prod-invoice -o kit/
      lastgood emergency-kit prod-invoice -o kit/ --to v-20261123-01
      python3 kit/rollback.py --dry-run
    """
    with connect(given(ctx)) as api:
        kit = api.get("workflows", workflow, "emergency-kit", channel=channel, to=to)
    _check(folder, json.loads(kit["files"][_FACTS]), force)
    _write(folder, kit["files"])
    if as_json:
        output.print_json({name: value for name, value in kit.items() if name != "files"} | {"folder": str(folder)})
    else:
        output.write(f"{folder}: rolls {kit['app']['name']} on {kit['app']['server']} back to {kit['version']['id']}")
        output.write(f"try it: python3 {folder / _SCRIPT} --dry-run")
    for sentence in kit["warnings"]:
        output.warn(f"lastgood: {output.flat(sentence)}")


def _check(folder: Path, facts: Mapping[str, Any], force: bool) -> None:
    """Refuse a folder that holds another app's kit, something else, or a rollback that was cut off."""
    try:
        names = {one.name for one in folder.iterdir()} if folder.exists() else set()
        there = json.loads((folder / _FACTS).read_text(encoding="utf-8")) if _FACTS in names else None
    except (OSError, ValueError) as error:
        raise InvalidRequest(where="--output", reason=f"{folder} cannot be used ({_reason(error)})") from None
    if force:
        return
    if _UNFINISHED in names:
        reason = f"a rollback with the kit in {folder} was cut off; run its script again first, or use --force"
        raise InvalidRequest(where="--output", reason=reason)
    if isinstance(there, dict) and all(there.get(key) == facts[key] for key in ("workflow", "channel", "app")):
        return
    if names:
        what = "another kit" if there is not None else "other files"
        raise InvalidRequest(where="--output", reason=f"{folder} holds {what}; name another folder, or use --force")


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Each file whole or not at all, `kit.json` last: only the owner may read them."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        for name in sorted(files, key=lambda name: name == _FACTS):
            _replace(folder / name, files[name], 0o700 if name == _SCRIPT else 0o600)
    except OSError as error:
        raise InvalidRequest(where="--output", reason=f"{folder} cannot be written ({_reason(error)})") from None


def _replace(file: Path, text: str, mode: int) -> None:
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as new:
            new.write(text)
            new.flush()
            os.fsync(new.fileno())
        Path(name).chmod(mode)
        Path(name).replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or "its kit.json is not JSON"
