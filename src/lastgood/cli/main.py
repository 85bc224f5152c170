"""`lastgood`: the command line."""

import os
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from typing import Annotated, NoReturn

import typer
from typer.exceptions import Abort, TyperException
from typer.main import get_command

import lastgood
from lastgood.cli import (
    access,
    acl,
    admin,
    approvals,
    audit,
    checks,
    cluster,
    documents,
    drafts,
    impact,
    keys,
    kit,
    meaning,
    moves,
    operations,
    output,
    people,
    promote,
    proofs,
    ring,
    running,
    servers,
    standing,
    state,
    triggers,
)
from lastgood.cli.commands import Group, add, add_late, group, keep_server, keep_token
from lastgood.errors import LastgoodError

PROGRAM = "lastgood"
_STOPPED = 130  # as a shell reports a program that Ctrl-C ended

app = group(add_completion=True)
add(
    app,
    {
        "push": documents.push,
        "versions": documents.versions,
        "show": documents.show,
        "export": documents.export,
        "snapshot": documents.snapshot,
        "snapshots": documents.snapshots,
        "restore": documents.restore,
        "workflows": documents.workflows,
    },
    "Keep versions",
)
add(
    app,
    {
        "publish": moves.publish,
        "promote": promote.promote,
        "plan": operations.plan,
        "impact": impact.impact,
        "rollback": operations.rollback,
        "adopt": standing.adopt,
        "heal": standing.heal,
        "operations": operations.operations,
        "operation": operations.operation,
        "rehearse": operations.rehearse,
        "emergency-kit": kit.emergency_kit,
        "log": moves.log,
        "run": running.run,
    },
    "Serve them",
)
add(
    app,
    {
        "diff": meaning.diff,
        "lint": meaning.lint,
        "interface": meaning.interface,
        "deps": meaning.deps,
        "blame": meaning.blame,
        "graph": meaning.graph,
        "pin": meaning.pin,
        "tag": meaning.tag,
    },
    "Know them",
)
add(
    app,
    {
        "connect": servers.connect_server,
        "servers": servers.servers,
        "bind": servers.bind,
        "capture": servers.capture,
        "watch": servers.watch,
        "drafts": drafts.drafts,
    },
    "Beside Dify",
)
app.add_typer(approvals.approvals, name="approvals", rich_help_panel="Serve them")
add(app, {"approve": approvals.approve, "reject": approvals.reject}, "Serve them")
app.add_typer(drafts.draft, name="draft", rich_help_panel="Beside Dify")
add(app, {"verify": checks.verify, "mark": proofs.mark}, "Prove them")
app.add_typer(proofs.smoke, name="smoke", rich_help_panel="Prove them")
add(
    app,
    {
        "status": state.status,
        "changes": state.changes,
        "drift": standing.drift,
        "doctor": state.doctor,
        "triggers": triggers.triggers,
        "cluster": cluster.cluster,
        "fsck": meaning.fsck,
    },
    "See how things stand",
)
add(
    app,
    {"grant": access.grant, "revoke": access.revoke, "grants": access.grants, "can": access.can},
    "Who may do what",
)
app.add_typer(access.role, name="role", rich_help_panel="Who may do what")
app.add_typer(audit.audit, name="audit", rich_help_panel="Who may do what")
app.add_typer(keys.key, name="key", rich_help_panel="Doors and server")
app.add_typer(acl.acl, name="acl", rich_help_panel="Who may do what")
app.add_typer(people.person, name="person", rich_help_panel="Doors and server")
app.add_typer(admin.token, name="token", rich_help_panel="Doors and server")
app.add_typer(ring.ring, name="ring", rich_help_panel="Doors and server")
add(app, {"init": admin.init, "completion": admin.completion}, "Doors and server")
LATE = {
    "serve": "Run the management API, the gateway and the engine until Ctrl-C.",
    "demo": "Show the main job: a bad publish, seen, rolled back, and nothing wrong served after it.",
}
add_late(app, LATE, "Doors and server")


def _show_version(value: bool) -> None:
    if value:
        output.write(f"lastgood {lastgood.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    ctx: typer.Context,
    server: Annotated[
        str | None,
        typer.Option(callback=keep_server, metavar="URL", help="A server elsewhere (LASTGOOD_SERVER)."),
    ] = None,
    token: Annotated[
        str | None, typer.Option(callback=keep_token, metavar="lg_…", help="The token for it (LASTGOOD_TOKEN).")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Release control for Dify workflows: keep every version, know which are proven good, go back in one step.

    Commands go to the server that --server names, else to the one that runs on the data directory
    (LASTGOOD_HOME, else ~/.lastgood), else they work on that directory themselves.

    Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the channel moved but its version failed verification,
    4 it waits for an approval, 130 stopped by Ctrl-C.

    \b
    Examples:
      lastgood push invoice-intake.yml --workflow prod-invoice -m "first version"
      lastgood publish prod-invoice v-20261123-01
      lastgood rollback prod-invoice
      lastgood status
    """
    if ctx.invoked_subcommand is None:
        output.write(ctx.get_help())


@cache
def command() -> Group:
    """The whole command line as one command; always the same."""
    whole = get_command(app)
    assert isinstance(whole, Group)  # noqa: S101 - `group` says so
    for option in whole.params:
        if option.name in ("install_completion", "show_completion"):
            option.hidden = True  # type: ignore[attr-defined]  # `lastgood completion` says it better
    return whole


def run(args: Sequence[str]) -> int:
    """Run the command line `args` (without the program's name) and give the exit code. Errors are one sentence on
    standard error; ``LASTGOOD_DEBUG=1`` shows where they came from."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # an arrow must not end a command on a terminal that has none
            stream.reconfigure(errors="backslashreplace")
    try:
        code = command().main(list(args), prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        output.reader_has_gone()
    except KeyboardInterrupt:
        return _STOPPED
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except Abort as end:
        output.warn("lastgood: nothing was changed.")
        return _STOPPED if isinstance(end.__context__, KeyboardInterrupt) else 1
    except Exception as error:
        return report(error)
    return code if isinstance(code, int) else 0


def report(error: Exception) -> int:
    """Print `error` as one sentence and give its exit code."""
    if os.environ.get("LASTGOOD_DEBUG"):
        traceback.print_exception(error)
    if isinstance(error, TyperException):
        message = error.format_message()
        context = getattr(error, "ctx", None)
        if context is not None and not message.startswith("Usage:"):
            end = "" if message.endswith("?") else "."
            message = f"lastgood: {message.rstrip('.')}{end} Try `{context.command_path} --help`."
        output.warn(message)
        return error.exit_code
    if isinstance(error, LastgoodError):
        output.warn(f"lastgood: {output.flat(str(error))}")
        return error.exit_code
    # The text of an unknown error may hold anything; only its kind is told.
    output.warn(f"lastgood: this should not happen ({type(error).__name__}); LASTGOOD_DEBUG=1 shows where.")
    return 1


def main() -> NoReturn:
    """The entry point of the `lastgood` script."""
    sys.exit(run(sys.argv[1:]))
