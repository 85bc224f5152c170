"""Commands for the kept states of drafts."""

from typing import Annotated

import typer

from lastgood.cli import output
from lastgood.cli.client import connect
from lastgood.cli.commands import add, group
from lastgood.cli.meaning import show_lines
from lastgood.cli.parameters import Json, Limit, Wide, Workflow, complete_version, given
from lastgood.cli.standing import restore

draft = group(help="A kept state of a draft.", no_args_is_help=True)
State = Annotated[str, typer.Argument(metavar="ID", help="Id of the draft state (dr-…).")]


def drafts(
    ctx: typer.Context, workflow: Workflow, limit: Limit = 50, wide: Wide = False, as_json: Json = False
) -> None:
    """List the states of a workflow's drafts in Dify that were kept, newest first.

    A state is kept when the watch sees a changed draft, and before anything of ours writes one.

    \b
    Examples:
      lastgood drafts prod-invoice
      lastgood drafts prod-invoice --json
    """
    with connect(given(ctx)) as api:
        found = api.items("workflows", workflow, "drafts", limit=limit)
    if output.items(found, as_json, f"No state of a draft of {workflow} is kept."):
        return
    rows = [
        (
            one["id"],
            one["channel"],
            one["author"],
            output.moment(one["changed_at"], wide),
            output.moment(one["kept_at"], wide),
            " ".join(part for part in (one["why"], one["operation"]) if part),
            output.digest(one["digest"], wide),
        )
        for one in found
    ]
    output.table(("draft", "channel", "by", "changed", "kept", "why", "digest"), rows)


def show(ctx: typer.Context, id: State, as_json: Json = False) -> None:
    """Print the document of a draft state, secret values left out.

    \b
    Examples:
      lastgood draft show dr-k3x9q2ab > draft.yml
    """
    with connect(given(ctx)) as api:
        found = api.get("drafts", id)
    if as_json:
        output.print_json({name: value for name, value in found.items() if name != "yaml"})
        return
    output.write(output.printable(found["yaml"]), end="")


def diff(
    ctx: typer.Context,
    id: State,
    version: Annotated[
        str | None,
        typer.Argument(metavar="[VERSION]", help="Live when left out.", autocompletion=complete_version),
    ] = None,
    stat: Annotated[bool, typer.Option("--stat", help="Only a count for each node.")] = False,
    as_json: Json = False,
) -> None:
    """Show what a draft state changes in a version. Secrets are told as changed, never shown.

    \b
    Examples:
      lastgood draft diff dr-k3x9q2ab
      lastgood draft diff dr-k3x9q2ab v-20261123-03 --stat
    """
    with connect(given(ctx)) as api:
        found = api.get("drafts", id, "diff", version=version)
    if as_json:
        output.print_json({name: found[name] for name in ("summary", "changes", "difference")})
    elif stat:
        output.write(output.printable("\n".join(found["stat"])))
    else:
        line = f"{found['old']['id']} → {found['new']['id']}: {found['summary']}"
        output.write(output.paint(output.flat(line), "bold"))
        show_lines(found["lines"])


add(draft, {"show": show, "diff": diff, "restore": restore}, "Commands")
