"""`lastgood serve`: run everything on this machine."""

from typing import Annotated

import typer
from rich.console import Console

from lastgood.settings import load


def serve(
    api_port: Annotated[int | None, typer.Option(help="Port of the management API (8321).")] = None,
    gateway_port: Annotated[int | None, typer.Option(help="Port of the gateway (8322).")] = None,
    gateway_workers: Annotated[int | None, typer.Option(help="Gateway processes (1).")] = None,
    engine_workers: Annotated[int | None, typer.Option(help="Engine processes (1).")] = None,
) -> None:
    """Run the management API, the gateway and the engine until Ctrl-C.

    The first start shows the admin token once.

    \b
    Examples:
      lastgood serve
      LASTGOOD_HOME=/srv/lastgood lastgood serve --gateway-workers 2
    """
    from lastgood.server.supervisor import Running
    from lastgood.server.supervisor import serve as run

    settings = load(
        api_port=api_port, gateway_port=gateway_port, gateway_workers=gateway_workers, engine_workers=engine_workers
    )
    console = Console(highlight=False, soft_wrap=True)

    def announce(running: Running) -> None:
        console.print(f"Lastgood runs on the data in {settings.home}")
        console.print(f"  management API  {running.api}   (described at {running.api}/docs)")
        console.print(f"  gateway         {running.gateway}   (point Dify clients here, with their app-… keys)")
        if running.admin_token is not None:
            console.print("\nAdmin token, shown this once (for the API and for command lines elsewhere):")
            console.print(f"  {running.admin_token}\n")
        console.print("Ctrl-C ends it.")

    run(settings, announce)
