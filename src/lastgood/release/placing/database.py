"""The way `database`: the pointer of an app in Dify's own database, moved by one compare-and-set. It is no API of
Dify's, so it is only for self-hosted servers whose operator names the database."""

import os

from lastgood.errors import InvalidSetting, NotAsMeant
from lastgood.settings import Settings

_SECONDS = 10
_SWITCH = "UPDATE apps SET workflow_id = %s WHERE id = %s AND workflow_id = %s"
_READ = "SELECT workflow_id FROM apps WHERE id = %s"


def url_of(settings: Settings, server: str) -> str:
    """The URL of the database of `server`, empty where none is set. Raises `InvalidSetting`."""
    url = settings.dify.server(server).database
    if not url.startswith("env:"):
        return url
    name = url.removeprefix("env:")
    found = os.environ.get(name, "")
    if not found:
        raise InvalidSetting(name=f"dify.{server}.database", value=url, reason=f"the variable {name} is not set")
    return found


def switch(url: str, app: str, *, before: str, after: str, server: str, version: str, workflow: str) -> None:
    """Point `app` from Dify's row `before` to its row `after`; nothing is done where it points there already. Raises
    `NotAsMeant` where it points elsewhere, `InvalidSetting` where the database cannot be used."""
    import psycopg  # only here: most servers start without it, and sooner

    try:
        with psycopg.connect(url, connect_timeout=_SECONDS) as connection:
            moved = connection.execute(_SWITCH, (after, app, before)).rowcount
            found = connection.execute(_READ, (app,)).fetchone()
    except psycopg.Error as error:  # its words may hold the URL
        reason = f"it cannot be used ({type(error).__name__})"
        raise InvalidSetting(name=f"dify.{server}.database", value="…", reason=reason) from None
    now = str(found[0]) if found and found[0] else "nothing"
    if moved != 1 and now != after:
        what = f"its pointer is at {now}, not at {before}, so it was not moved"
        raise NotAsMeant(server=server, app=app, version=version, what=what, workflow=workflow)
