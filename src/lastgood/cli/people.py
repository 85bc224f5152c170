"""Commands for people: who can sign in."""

import getpass
import sys
from typing import Annotated

import typer

from lastgood.cli import output
from lastgood.cli.client import connect
from lastgood.cli.commands import add, group
from lastgood.cli.parameters import Json, Wide, given

person = group(help="People: who can sign in.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="What they are called here, and in grants.")]


def add_person(
    ctx: typer.Context,
    name: Name,
    display: Annotated[str, typer.Option("--display", help="What people call them.")] = "",
    email: Annotated[str, typer.Option("--email", help="Where they are written to.")] = "",
    no_password: Annotated[
        bool, typer.Option("--no-password", help="Ask for none; they sign in elsewhere, or not yet.")
    ] = False,
) -> None:
    """Add a person. Their password is asked for, or read from standard input; never given as an argument.

    \b
    Examples:
      lastgood person add u1002 --display "Ada Lovelace"
      lastgood person add u1002 < password.txt
      lastgood person add robin --no-password
    """
    body = {"name": name, "display": display, "email": email, "password": None if no_password else ask_password(name)}
    with connect(given(ctx)) as api:
        made = api.post("people", body=body)
    output.write(f"{made['name']} can sign in" if made["has_password"] else f"{made['name']} is known")
    output.warn(f"lastgood: give them something to do with: lastgood grant {made['name']} viewer")


def list_people(ctx: typer.Context, wide: Wide = False, as_json: Json = False) -> None:
    """List the people who can sign in, and how.

    \b
    Examples:
      lastgood person list
    """
    with connect(given(ctx)) as api:
        found = api.items("people", limit=10_000)
    if output.items(found, as_json, "Nobody is known here; `lastgood person add NAME` adds one."):
        return
    rows = [
        (
            one["name"],
            one["display"],
            one["issuer"] or ("password" if one["has_password"] else "-"),
            output.Cell("disabled", "red") if one["disabled_at"] else output.Cell("open", "green"),
            output.moment(one["seen_at"], wide),
            output.moment(one["created_at"], wide),
        )
        for one in found
    ]
    output.table(("person", "called", "signs in by", "state", "seen", "age"), rows)


def disable(ctx: typer.Context, name: Name) -> None:
    """Shut a person out: their sessions end at once.

    \b
    Examples:
      lastgood person disable u1002
    """
    with connect(given(ctx)) as api:
        api.post("people", name, "disable")
    output.write(f"{name} is shut out")


def enable(ctx: typer.Context, name: Name) -> None:
    """Let a person in again.

    \b
    Examples:
      lastgood person enable u1002
    """
    with connect(given(ctx)) as api:
        api.post("people", name, "enable")
    output.write(f"{name} can sign in again")


def password(ctx: typer.Context, name: Name) -> None:
    """Give a person another password; their sessions end. It is asked for, or read from standard input.

    \b
    Examples:
      lastgood person password u1002
      lastgood person password u1002 < password.txt
    """
    with connect(given(ctx)) as api:
        api.post("people", name, "password", body={"password": ask_password(name)})
    output.write(f"{name} has another password")


def ask_password(name: str) -> str:
    """A new password: typed twice on a terminal, else the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    while True:
        first = getpass.getpass(f"Password of {name}: ")
        if getpass.getpass("The same again: ") == first:
            return first
        output.warn("lastgood: these were not the same.")


add(
    person,
    {"add": add_person, "list": list_people, "disable": disable, "enable": enable, "password": password},
    "Commands",
)
