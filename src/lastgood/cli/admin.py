"""Commands for the machine that Lastgood runs on, and for API tokens: the first admin, tokens, completion."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lastgood.cli import output
from lastgood.cli.client import connect
from lastgood.cli.commands import add, group
from lastgood.cli.parameters import Json, Wide, given

if TYPE_CHECKING:
    from lastgood.db.audit import Principal
    from lastgood.db.store import Store

token = group(help="API tokens: what programs and people elsewhere show.", no_args_is_help=True)


def init(
    person: Annotated[
        str | None, typer.Option("--person", metavar="NAME", help="A person with a password, in place of a token.")
    ] = None,
) -> None:
    """Make the first admin: a token that is shown once, or a person with a password. On the server's machine only.

    Until there is one, the server listens on loopback only. The first `lastgood serve` makes an admin token by itself
    where there is none.

    \b
    Examples:
      lastgood init
      lastgood init --person ada
      lastgood init --person ada < password.txt
    """
    from lastgood.access import admins, grants, passwords, people, tokens
    from lastgood.cli.people import ask_password
    from lastgood.db.tx import Tx
    from lastgood.errors import AdminExists

    with _own_store() as (store, who):
        home = str(store.settings.home)
        with store.read() as tx:
            if admins.exist(tx):
                raise AdminExists(home=home)
        hashed = None
        if person is not None:
            chosen = ask_password(people.check_name(person))
            passwords.check_new(chosen, person)
            hashed = passwords.hashed(chosen)

        def work(tx: Tx) -> str:
            if admins.exist(tx):
                raise AdminExists(home=home)
            if person is None:
                return tokens.reset_admin(tx, who)
            made = people.create(tx, who, person, password=hashed)
            grants.put(tx, who, grants.Grant(made.name, "admin"))
            return made.name

        made = store.write(work)
    if person is None:
        output.write(made)
        output.warn(f"lastgood: this is the admin token of {home}. Keep it; it is not shown again.")
        output.warn("lastgood: show it with: export LASTGOOD_TOKEN=…, or as `Authorization: Bearer …`.")
    else:
        output.write(f"{made} is the admin of {home}")
    output.warn("lastgood: start the server with: lastgood serve")
    output.warn("lastgood: let others in with: lastgood person add NAME; lastgood token create NAME --role viewer")


def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who uses it; the log calls it so.")],
    role: Annotated[
        str | None, typer.Option("--role", metavar="ROLE", help="What it may do: viewer, editor, releaser, …")
    ] = None,
    workflow: Annotated[
        list[str] | None,
        typer.Option(
            "--workflow", "-w", metavar="PATTERN", help="Where the role holds: a name, or prod-*; repeatable."
        ),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="90d", help="When it ends: in 90d or 12h, or at a time.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make an API token. It is shown this once.

    \b
    Examples:
      lastgood token create ci --role releaser --workflow 'prod-*' --expires 90d
      lastgood token create dashboard --role viewer
    """
    body = {"name": name, "role": role, "workflows": workflow or [], "expires": expires}
    with connect(given(ctx)) as api:
        made = api.post("tokens", body=body)
    if as_json:
        output.print_json(made)
        return
    output.write(made["token"])
    held = ", ".join(f"{one['role']} on {one['resource']}" for one in made["grants"])
    until = f" until {made['expires_at'][:10]}" if made["expires_at"] else ""
    output.warn(f"lastgood: {name} is {held or 'granted nothing yet'}{until}. Keep the token; it is not shown again.")


def list_tokens(ctx: typer.Context, wide: Wide = False, as_json: Json = False) -> None:
    """List the API tokens, without the tokens themselves: what they may do, when they end, when they were last used.

    \b
    Examples:
      lastgood token list
    """
    with connect(given(ctx)) as api:
        found = api.items("tokens")
    if output.items(found, as_json, "There is no token; `lastgood token create NAME --role …` makes one."):
        return
    rows = [
        (
            one["name"],
            ", ".join(sorted({grant["role"] for grant in one["grants"]})),
            ", ".join(sorted({grant["resource"] for grant in one["grants"]})),
            output.Cell("expired", "red") if one["expired"] else (one["expires_at"] or "never")[:10],
            output.moment(one["used_at"], wide),
            one["created_by"],
            output.moment(one["created_at"], wide),
        )
        for one in found
    ]
    output.table(("token", "role", "on", "expires", "used", "by", "age"), rows)


def revoke(
    ctx: typer.Context, name: Annotated[str, typer.Argument(metavar="NAME", help="The token's name.")]
) -> None:
    """End an API token: it is refused from now on, and what it was granted is taken away.

    \b
    Examples:
      lastgood token revoke ci
    """
    with connect(given(ctx)) as api:
        api.delete("tokens", name)
    output.write(f"{name} is revoked")


def reset() -> None:
    """Make a new admin token in place of the old one. On the server's machine only.

    It works on the store itself and asks no server, because who needs it has no token to show.

    \b
    Examples:
      lastgood token reset
      LASTGOOD_TOKEN=$(lastgood token reset)
    """
    from lastgood.access import tokens

    with _own_store() as (store, who):
        value = store.write(lambda tx: tokens.reset_admin(tx, who))
        home = store.settings.home
    output.write(value)
    output.warn(f"lastgood: the admin token of {home} is new; the old one is refused from now on.")


@contextmanager
def _own_store() -> "Iterator[tuple[Store, Principal]]":
    """The store of this machine's data directory, and who works on it."""
    from lastgood.cli.client import actor
    from lastgood.db.audit import Principal
    from lastgood.db.store import open_store
    from lastgood.settings import load

    store = open_store(load())
    try:
        yield store, Principal(actor(), kind="local")
    finally:
        store.close()


def completion(
    ctx: typer.Context,
    shell: Annotated[
        Literal["bash", "zsh", "fish"] | None,
        typer.Argument(metavar="SHELL", help="bash, zsh or fish; yours when left out."),
    ] = None,
    install: Annotated[bool, typer.Option("--install", help="Put it where the shell finds it.")] = False,
) -> None:
    """Print or install the completion of commands and ids in the shell.

    \b
    Examples:
      lastgood completion --install
      source <(lastgood completion bash)
      lastgood completion fish > ~/.config/fish/completions/lastgood.fish
    """
    from typer.completion import install_callback, show_callback

    act: Callable[..., object] = install_callback if install else show_callback
    act(ctx, None, shell or Path(os.environ.get("SHELL", "")).name or "bash")


add(token, {"create": create, "list": list_tokens, "revoke": revoke, "reset": reset}, "Commands")
