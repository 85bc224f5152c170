"""Commands for the machine that Lastgood runs on: the admin token, completion in the shell."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from lastgood.cli import output
from lastgood.cli.commands import add, group

token = group(help="The admin token of the API.", no_args_is_help=True)


def reset() -> None:
    """Make a new admin token in place of the old one. On the server's machine only.

    It works on the store itself and asks no server, because who needs it has no token to show.

    \b
    Examples:
      lastgood token reset
      LASTGOOD_TOKEN=$(lastgood token reset)
    """
    from lastgood.access import tokens
    from lastgood.cli.client import actor
    from lastgood.db.audit import Principal
    from lastgood.db.store import open_store
    from lastgood.settings import load

    settings = load()
    store = open_store(settings)
    try:
        value = store.write(lambda tx: tokens.reset_admin(tx, Principal(actor(), kind="local")))
    finally:
        store.close()
    output.write(value)
    output.warn(f"lastgood: the admin token of {settings.home} is new; the old one is refused from now on.")


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


add(token, {"reset": reset}, "Commands")
