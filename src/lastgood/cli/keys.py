"""Commands for app keys: what a client shows to the gateway."""

import sys
from typing import Annotated

import typer

from lastgood.cli import output
from lastgood.cli.client import connect
from lastgood.cli.commands import add, group
from lastgood.cli.parameters import Channel, Json, Wide, Workflow, given

key = group(help="App keys: what a client shows to the gateway.", no_args_is_help=True)


def create(
    ctx: typer.Context,
    workflow: Workflow,
    name: Annotated[str, typer.Option("--name", help="Who uses it.")],
    channel: Channel = "live",
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Read a key that Dify made from standard input, and accept it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make an app key for the gateway. It is shown this once.

    \b
    Examples:
      lastgood key create prod-invoice --name web
      lastgood key create prod-invoice --name tests --channel staging
      lastgood key create prod-invoice --name web --take-over < dify-key.txt
    """
    taken = sys.stdin.readline().strip() if take_over else None
    with connect(given(ctx)) as api:
        made = api.post("workflows", workflow, "keys", body={"name": name, "channel": channel, "key": taken})
    if as_json:
        output.print_json(made)
        return
    output.write(made["key"])
    output.warn(f"lastgood: {made['id']} opens {made['channel']} of {workflow}. Keep the key; it is not shown again.")


def list_keys(
    ctx: typer.Context,
    workflow: Workflow,
    every: Annotated[bool, typer.Option("--all", "-a", help="The revoked ones too.")] = False,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """List the app keys of a workflow, without the keys themselves.

    \b
    Examples:
      lastgood key list prod-invoice
      lastgood key list prod-invoice --all
    """
    with connect(given(ctx)) as api:
        found = [one for one in api.items("workflows", workflow, "keys") if every or not one["revoked_at"]]
    if output.items(
        found, as_json, f"{workflow} has no app keys; `lastgood key create {workflow} --name …` makes one."
    ):
        return
    rows = [
        (
            one["id"],
            one["name"],
            one["prefix"] + "…",
            one["channel"],
            output.Cell("revoked", "red") if one["revoked_at"] else output.Cell("open", "green"),
            one["created_by"],
            output.moment(one["created_at"], wide),
        )
        for one in found
    ]
    output.table(("key", "name", "begins", "channel", "state", "by", "age"), rows)


def revoke(
    ctx: typer.Context,
    workflow: Workflow,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its id (key-…) or name.")],
) -> None:
    """End an app key: the gateway refuses it from now on.

    \b
    Examples:
      lastgood key revoke prod-invoice web
    """
    with connect(given(ctx)) as api:
        api.delete("workflows", workflow, "keys", key)
    output.write(f"{key} of {workflow} is revoked")


add(key, {"create": create, "list": list_keys, "revoke": revoke}, "Commands")
