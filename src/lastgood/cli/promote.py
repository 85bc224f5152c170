"""`lastgood promote`: carry what one channel serves to another."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from lastgood.cli import moves, output
from lastgood.cli.client import connect
from lastgood.cli.parameters import (
    Approval,
    BreakGlass,
    Force,
    Json,
    NoVerify,
    OnFailure,
    Reason,
    Workflow,
    complete_channel,
    given,
)
from lastgood.errors import InvalidOverlay, InvalidRequest, NotPromotable

_COLOURS = {"pass": "green", "warn": "yellow", "refuse": "red"}


def promote(
    ctx: typer.Context,
    workflow: Workflow,
    origin: Annotated[
        str, typer.Option("--from", help="The channel that the version comes from.", autocompletion=complete_channel)
    ] = "staging",
    target: Annotated[
        str, typer.Option("--to", help="The channel that gets it.", autocompletion=complete_channel)
    ] = moves.LIVE,
    mapping: Annotated[
        Path | None, typer.Option("--mapping", metavar="FILE", help="What ids are called there (YAML).")
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option("--overlay", metavar="FILE", help="Values of variables there (YAML).")
    ] = None,
    write_mapping: Annotated[
        Path | None,
        typer.Option("--write-mapping", metavar="FILE", help="Write a draft of a mapping file, and do nothing else."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would do, and do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    reason: Reason = "",
    force: Force = False,
    on_failure: OnFailure = "keep",
    no_verify: NoVerify = False,
    approval: Approval = None,
    break_glass: BreakGlass = False,
    as_json: Json = False,
) -> None:
    """Carry the version of one channel to another, which may run on another Dify server: ids mapped, values overlaid.

    Refuses while an id of the one workspace is mapped to none of the other, because Dify drops such ids silently.
    What was shown is what is done; in a terminal it asks first, unless --yes is given.
    Exit codes: 3 the channel moved, but the version failed verification; 4 it waits for an approval.

    \b
    Examples:
      lastgood promote prod-invoice --from staging --to live --dry-run
      lastgood promote prod-invoice --from staging --to live --write-mapping staging-to-live.yaml
      lastgood promote prod-invoice --from staging --to live --mapping staging-to-live.yaml --overlay live.yaml
      lastgood promote prod-invoice --yes --reason "tested by alice"
    """
    body: dict[str, Any] = {"from": origin, "to": target, **_overlay(overlay)}
    if mapping is not None:
        body |= {"mapping": _read(mapping, "--mapping"), "mapping_name": mapping.name}
    with connect(given(ctx)) as api:
        with output.progress("looking at both sides"):
            shown = api.post("workflows", workflow, "promotions", "preview", body=body)
        if write_mapping is not None:
            _write(write_mapping, shown["mapping"])
        if dry_run or write_mapping is not None:
            _tell(shown, as_json)
            raise typer.Exit(1 if shown["refused"] and write_mapping is None else 0)
        if not as_json or shown["refused"]:
            _show(shown, output.warn)
        if shown["refused"]:
            reasons = " ".join(one["sentence"] for one in shown["findings"] if one["verdict"] == "refuse")
            raise NotPromotable(version=shown["version"]["id"], origin=origin, target=target, reasons=reasons)
        if not yes and sys.stdin.isatty() and sys.stderr.isatty():
            typer.confirm("Promote?", abort=True, err=True)
        body |= {"shown": shown["digest"], "reason": reason, "force": force, "verify": not no_verify}
        body |= {"on_verification_failure": on_failure, "approval": approval, "break_glass": break_glass}
        with output.progress("publishing and verifying"):
            done = api.post("workflows", workflow, "promotions", body=body, expected=shown["to"]["generation"])
    raise typer.Exit(moves.tell_move(done, as_json))


def _tell(shown: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.print_json(shown)
    else:
        _show(shown, output.write)


def _show(shown: dict[str, Any], say: Any) -> None:
    """Say what a promotion would do, a finding a line."""
    origin, target = shown["from"], shown["to"]
    say(
        f"{shown['version']['id']} of {shown['workflow']}: {origin['channel']} ({origin['server']}) → "
        f"{target['channel']} ({target['server']})"
    )
    say(f"proven in {origin['channel']}: {output.flat(shown['evidence'])}")
    for sentence in shown.get("protection", ()):  # an older server tells none
        say(f"  {output.paint('protected', 'yellow')} {output.flat(sentence)}")
    for one in shown["findings"]:
        mark = output.paint(f"{one['verdict']:<7}", _COLOURS[one["verdict"]])
        say(f"  {mark} {output.flat(one['sentence'])}")


def _overlay(file: Path | None) -> dict[str, Any]:
    """What an overlay file gives, references already followed here: the server has another environment."""
    if file is None:
        return {}
    from lastgood.release.promotion import overlay

    def fetch(kind: str, name: str) -> str:
        if kind == "env":
            if name not in os.environ:
                raise InvalidOverlay(source=file.name, where=f"env:{name}", reason="no such variable is set")
            return os.environ[name]
        place = file.parent / name
        try:
            return place.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise InvalidOverlay(source=file.name, where=f"file:{name}", reason=reason) from None

    found = overlay.read(_read(file, "--overlay"), source=file.name, fetch=fetch)
    return {
        "environment": {name: one.value for name, one in found.items() if one.how == "written"},
        "secrets": {name: one.value for name, one in found.items() if one.how == "referred"},
        "keep": [name for name, one in found.items() if one.how == "source"],
    }


def _read(file: Path, option: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise InvalidRequest(where=option, reason=f"{file} cannot be read ({reason})") from None


def _write(file: Path, text: str) -> None:
    """Write a new file; one that is there may hold what somebody filled in."""
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        raise InvalidRequest(where="--write-mapping", reason=f"{file} is there already; name another file") from None
    except OSError as error:
        raise InvalidRequest(where="--write-mapping", reason=f"{file} cannot be written ({error.strerror})") from None
