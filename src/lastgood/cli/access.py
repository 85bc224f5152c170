"""Commands for roles and grants, and for asking what somebody may do."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lastgood.cli import output
from lastgood.cli.client import connect
from lastgood.cli.commands import add, group
from lastgood.cli.parameters import Json, Limit, Wide, given
from lastgood.errors import InvalidRequest

role = group(help="Roles: named rules of what may be done.", no_args_is_help=True)

Subject = Annotated[
    str, typer.Argument(metavar="SUBJECT", help="A person's name (u1002), token:NAME, service:NAME or local.")
]
Role = Annotated[str, typer.Argument(metavar="ROLE", help="The name of the role.")]
On = Annotated[str, typer.Option("--on", metavar="PATTERN", help="On what: workflow:prod-*, target:dify; * is all.")]


def list_roles(ctx: typer.Context, as_json: Json = False) -> None:
    """List all roles: the built-in ones, and your own.

    \b
    Examples:
      lastgood role list
    """
    with connect(given(ctx)) as api:
        found = api.items("roles")
    if not output.items(found, as_json, "There are no roles."):
        rows = [(one["name"], "built in" if one["built_in"] else "own", one["description"]) for one in found]
        output.table(("role", "kind", "description"), rows)


def show(ctx: typer.Context, name: Role, as_json: Json = False) -> None:
    """Show the rules of a role.

    \b
    Examples:
      lastgood role show releaser
      lastgood role show night-shift --json > role.json
    """
    with connect(given(ctx)) as api:
        found = api.get("roles", name)
    if as_json:
        output.print_json(found)
        return
    output.write(f"{found['name']}: {output.flat(found['description'] or 'no description')}")
    rows = [
        (one["effect"], action, " ".join(one["resources"])) for one in found["rules"] for action in one["actions"]
    ]
    output.table(("effect", "action", "on"), rows)


def create(
    ctx: typer.Context,
    name: Role,
    allow: Annotated[
        list[str] | None, typer.Option("--allow", metavar="ACTION", help="An action or pattern; repeatable.")
    ] = None,
    deny: Annotated[
        list[str] | None, typer.Option("--deny", metavar="ACTION", help="What it never may; wins over all else.")
    ] = None,
    on: Annotated[
        list[str] | None,
        typer.Option("--on", metavar="PATTERN", help="Resources that these are about; all when left out."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", metavar="FILE", help="Rules as YAML or JSON, as `role show` has them."),
    ] = None,
    description: Annotated[str, typer.Option("--description", "-m", help="What it is for.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="In the place of the role of that name.")] = False,
    as_json: Json = False,
) -> None:
    """Make a role of your own. Whoever holds it has changed rules at once.

    \b
    Examples:
      lastgood role create pusher --allow workflow:read --allow workflow:push
      lastgood role create staging-only --allow 'workflow:*' --allow channel:move:staging --deny workflow:archive
      lastgood role create night-shift --file role.yml --replace
    """
    body: dict[str, Any] = {"name": name, "description": description, "replace": replace}
    if file is not None:
        if allow or deny or on:
            raise InvalidRequest(
                where="--file", reason="the file holds the rules; leave --allow, --deny and --on out"
            )
        body |= _read(file, description)
    else:
        rules = [("allow", allow), ("deny", deny)]
        body["rules"] = [
            {"effect": effect, "actions": named, "resources": on or ["*"]} for effect, named in rules if named
        ]
        if not body["rules"]:
            raise InvalidRequest(where="--allow", reason="name an action at least, or a --file with rules")
    with connect(given(ctx)) as api:
        made = api.post("roles", body=body)
    if as_json:
        output.print_json(made)
    else:
        output.write(f"role {made['name']}: {output.count(len(made['rules']), 'rule')}")


def delete(ctx: typer.Context, name: Role) -> None:
    """Take a role away that nobody holds.

    \b
    Examples:
      lastgood role delete night-shift
    """
    with connect(given(ctx)) as api:
        api.delete("roles", name)
    output.write(f"role {name} is gone")


def grant(
    ctx: typer.Context,
    subject: Subject,
    name: Role,
    on: On = "*",
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="AGE", help="In 90d, 12h, or an ISO 8601 time; never when left out."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Give somebody a role. It holds in every process at once.

    \b
    Examples:
      lastgood grant u1002 viewer --on workflow:prod-invoice
      lastgood grant token:ci releaser --on 'workflow:test-*' --expires 90d
    """
    with connect(given(ctx)) as api:
        made = api.post("grants", body={"subject": subject, "role": name, "on": on, "expires": expires})
    if as_json:
        output.print_json(made)
        return
    until = f" until {made['expires_at'][:16].replace('T', ' ')} UTC" if made["expires_at"] else ""
    had = "has" if made["changed"] else "has already"
    output.write(f"{made['subject']} {had} the role {made['role']} on {made['on']}{until}")


def revoke(ctx: typer.Context, subject: Subject, name: Role, on: On = "*") -> None:
    """Take a role from somebody, on what it was granted on. It holds nowhere from now on.

    \b
    Examples:
      lastgood revoke u1002 viewer --on workflow:prod-invoice
    """
    with connect(given(ctx)) as api:
        api.delete("grants", subject=subject, role=name, on=on)
    output.write(f"{subject} has the role {name} on {on} no more")


def grants(
    ctx: typer.Context,
    subject: Annotated[
        str | None, typer.Argument(metavar="[SUBJECT]", help="Only those of this subject.", show_default=False)
    ] = None,
    of_role: Annotated[str | None, typer.Option("--role", help="Only those that give this role.")] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="Only those from there; local: granted by people here.")
    ] = None,
    limit: Limit = 500,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """List who has which role on what.

    \b
    Examples:
      lastgood grants
      lastgood grants u1002
      lastgood grants --role admin --json
    """
    with connect(given(ctx)) as api:
        found = api.items("grants", limit=limit, subject=subject, role=of_role, source=source)
    if output.items(found, as_json, f"{subject} has no grant here." if subject else "Nobody has a grant."):
        return
    rows = [
        (
            one["subject"],
            one["role"],
            one["on"],
            output.moment(one["expires_at"], True) if one["expires_at"] else "never",
            one["source"],
            one["granted_by"],
            output.moment(one["granted_at"], wide),
        )
        for one in found
    ]
    output.table(("subject", "role", "on", "ends", "source", "by", "age"), rows)


def can(
    ctx: typer.Context,
    subject: Subject,
    action: Annotated[
        str, typer.Argument(metavar="ACTION", help="rollback for workflow:rollback, or the whole name.")
    ],
    resource: Annotated[str, typer.Argument(metavar="RESOURCE", help="Such as workflow:prod-invoice.")],
    as_json: Json = False,
) -> None:
    """Say whether somebody may do something, and the rule that says so.

    Exit code 0 when allowed, 1 when denied.

    \b
    Examples:
      lastgood can u1002 rollback workflow:prod-invoice
      lastgood can token:ci channel:move:live workflow:prod-invoice
    """
    with connect(given(ctx)) as api:
        found = api.get("can", subject=subject, action=action, resource=resource)
    if as_json:
        output.print_json(found)
    else:
        word = output.paint("allowed", "green") if found["allowed"] else output.paint("denied", "red")
        output.write(f"{word}: {output.flat(found['reason'])}")
    if not found["allowed"]:
        raise typer.Exit(1)


def _read(file: Path, description: str) -> dict[str, Any]:
    """The rules in a file, and the description where none was given."""
    import yaml

    try:
        value = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidRequest(where="--file", reason=f"{file} cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise InvalidRequest(where="--file", reason=f"{file} is neither YAML nor JSON") from None
    if isinstance(value, list):
        return {"rules": value}
    if not isinstance(value, dict) or "rules" not in value:
        raise InvalidRequest(where="--file", reason=f"{file} holds no list of rules")
    return {"rules": value["rules"], "description": description or str(value.get("description") or "")}


add(role, {"list": list_roles, "show": show, "create": create, "delete": delete}, "Commands")
