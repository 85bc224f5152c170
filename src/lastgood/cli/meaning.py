"""Commands that read documents: diff, lint, interface, deps, blame, graph; fsck, pin and tag."""

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lastgood.cli import output
from lastgood.cli.client import Client, connect
from lastgood.cli.parameters import Json, Version, Workflow, complete_version, complete_workflow, given
from lastgood.errors import InvalidRequest

_COLOURS = {
    "added": "green",
    "removed": "red",
    "changed": "yellow",
    "moved": "cyan",
    "note": "dim",
}
_SUFFIXES = frozenset({".yml", ".yaml", ".json"})
_DIFFERS = 1
_LONGEST_PROOF = 400


def diff(
    ctx: typer.Context,
    what: Annotated[
        str, typer.Argument(metavar="WORKFLOW|FILE", help="A workflow, or a file.", autocompletion=complete_workflow)
    ],
    old: Annotated[
        str | None,
        typer.Argument(metavar="[OLD|FILE]", help="Version; live when left out.", autocompletion=complete_version),
    ] = None,
    new: Annotated[
        str | None,
        typer.Argument(metavar="[NEW]", help="Version; the newest when left out.", autocompletion=complete_version),
    ] = None,
    stat: Annotated[bool, typer.Option("--stat", help="Only a count for each node.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit code 1 when they differ.")] = False,
    as_json: Json = False,
) -> None:
    """Show what differs between two versions of a workflow, or between two files.

    The layout of the canvas does not count. Secrets are told as changed, never shown.

    \b
    Examples:
      lastgood diff prod-invoice
      lastgood diff prod-invoice v-20261123-03 v-20261123-07 --stat
      lastgood diff a.yml b.yml --exit-code
    """
    if old is not None and new is None and _is_file(what) and _is_file(old):
        found = _of_files(Path(what), Path(old))
    else:
        with connect(given(ctx)) as api:
            found = api.get("workflows", what, "diff", old=old, new=new)
    if as_json:
        output.print_json({name: found[name] for name in ("summary", "changes", "difference")})
    elif markdown:
        output.write(found["markdown"])
    elif stat:
        output.write(output.printable("\n".join(found["stat"])))
    else:
        first, second = (found["old"]["id"], found["new"]["id"]) if "old" in found else (what, old)
        output.write(output.paint(output.flat(f"{first} → {second}: {found['summary']}"), "bold"))
        show_lines(found["lines"])
        _show_meaning(found["changes"])
    if exit_code and found["lines"]:
        raise typer.Exit(_DIFFERS)


def lint(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="FILE|VERSION", help="A document, or a version that is kept.")],
    form: Annotated[Literal["text", "json", "github"], typer.Option("--format", help="How to tell.")] = "text",
    allow: Annotated[list[str] | None, typer.Option("--allow", help="A rule to leave out; may be repeated.")] = None,
) -> None:
    """Look for mistakes that Dify and its engine do not find. Exit code 1 when there are errors.

    A rule is silenced for a node by `lastgood: allow RULE` in its description.

    \b
    Examples:
      lastgood lint flow.yml
      lastgood lint flow.yml --format github
      lastgood lint v-20261123-01 --allow unused-input
    """
    from lastgood import dsl
    from lastgood.dsl.lint import RULES, as_github, as_json, as_lines
    from lastgood.dsl.lint import lint as look
    from lastgood.dsl.places import Places, parse_with_places

    unknown = set(allow or ()) - set(RULES)
    if unknown:
        raise typer.BadParameter(f"there is no rule {sorted(unknown)[0]!r}", param_hint="--allow")
    places: Places | None = None
    if _is_file(what):
        document, places = parse_with_places(_bytes(Path(what)), source=what)
    else:
        with connect(given(ctx)) as api:
            document = dsl.parse(api.file("versions", what, "document", format="json"), source=what)
    report = look(document, allow=allow or (), places=places)
    if form == "json":
        output.print_json(as_json(report, what))
    elif told := (as_github if form == "github" else as_lines)(report, what):
        output.write(output.printable(told))
    if any(problem.severity == "error" for problem in report.problems):
        raise typer.Exit(1)


def interface(ctx: typer.Context, workflow: Workflow, version: Version) -> None:
    """Print a version's inputs and outputs as JSON Schema.

    \b
    Examples:
      lastgood interface prod-invoice v-20261123-01 | jq .inputs.required
    """
    output.print_json(_asked(ctx, workflow, version, "interface"))


def deps(ctx: typer.Context, workflow: Workflow, version: Version, as_json: Json = False) -> None:
    """List what a version needs: models, plugins, tools, knowledge bases, hosts, variables, secrets, triggers.

    \b
    Examples:
      lastgood deps prod-invoice v-20261123-01
      lastgood deps prod-invoice v-20261123-01 --json | jq '.hosts[].host'
    """
    found = _asked(ctx, workflow, version, "dependencies")
    if as_json:
        output.print_json(found)
        return
    rows = [
        [kind.replace("_", " "), _named(item), ", ".join(map(str, item.get("nodes", [])))]
        for kind, items in found.items()
        for item in items
    ]
    if rows:
        output.table(("kind", "what", "nodes"), rows)
    else:
        output.warn(f"{version} needs nothing from outside.")


def blame(
    ctx: typer.Context,
    workflow: Workflow,
    node: Annotated[str | None, typer.Argument(help="Id or title of a node; all when left out.")] = None,
    as_json: Json = False,
) -> None:
    """List for each node and field the version, author and date that last changed it.

    \b
    Examples:
      lastgood blame prod-invoice
      lastgood blame prod-invoice "Read the lines"
    """
    with connect(given(ctx)) as api:
        found = api.items("workflows", workflow, "blame", node=node)
    if output.items(found, as_json, f"{workflow} has no graph."):
        return
    rows = [
        [one["title"] or one["node"], one["field"], one["version"], one["author"], one["authored_at"][:10]]
        for one in found
    ]
    output.table(("node", "field", "version", "author", "date"), rows)


def graph(
    ctx: typer.Context,
    workflow: Workflow,
    version: Version,
    against: Annotated[
        str | None, typer.Option("--against", help="Version to compare with.", autocompletion=complete_version)
    ] = None,
    to: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; else standard output.")] = None,
) -> None:
    """Draw the canvas of a version as SVG, as Dify lays it out; with --against, what changed is marked.

    \b
    Examples:
      lastgood graph prod-invoice v-20261123-02 -o flow.svg
      lastgood graph prod-invoice v-20261123-02 --against v-20261123-01 -o change.svg
    """
    with connect(given(ctx)) as api:
        _owned(api, workflow, version)
        picture = api.file("versions", version, "drawing", against=against)
    if to is None:
        output.write_bytes(picture)
        return
    try:
        to.write_bytes(picture)
    except OSError as error:
        raise InvalidRequest(where=str(to), reason=os.strerror(error.errno or 0)) from None


def fsck(ctx: typer.Context, as_json: Json = False) -> None:
    """Check that everything stored reads as it was written. Exit code 1 when a version is damaged.

    \b
    Examples:
      lastgood fsck
    """
    with connect(given(ctx)) as api:
        found = api.get("fsck")
    if as_json:
        output.print_json(found)
    else:
        checked = found["checked"]
        output.write(
            f"{checked['versions']} versions, {checked['contents']} contents and {checked['blobs']} parts were read: "
            + ("all is sound." if found["sound"] else "not all is sound.")
        )
        for one in found["damaged"]:
            name = f"{one['version']} of {one['workflow']}" if one["version"] else f"content {one['digest'][:12]}"
            output.warn(f"lastgood: {name} is damaged, because {one['reason']}; restore it, or push it again.")
        for id in found["damaged_dictionaries"]:
            output.warn(
                f"lastgood: dictionary {id} is damaged; a running server mends it if one of its two rows is sound."
            )
    if not found["sound"]:
        raise typer.Exit(1)


def pin(
    ctx: typer.Context,
    version: Version,
    off: Annotated[bool, typer.Option("--off", help="Let retention have it again.")] = False,
) -> None:
    """Keep a version at hand whatever its age.

    \b
    Examples:
      lastgood pin v-20261123-01
      lastgood pin v-20261123-01 --off
    """
    with connect(given(ctx)) as api:
        found = api.post("versions", version, "pin", body={"pinned": not off})
    output.write(f"{found['id']} of {found['workflow']} is {'pinned' if found['pinned'] else 'no longer pinned'}")


def tag(
    ctx: typer.Context, version: Version, semver: Annotated[str, typer.Argument(help="SemVer, such as 2.0.0.")]
) -> None:
    """Give a version its SemVer.

    \b
    Examples:
      lastgood tag v-20261123-01 2.0.0
    """
    with connect(given(ctx)) as api:
        found = api.post("versions", version, "tag", body={"semver": semver})
    output.write(f"{found['id']} of {found['workflow']} is {found['semver']}")


def _asked(ctx: typer.Context, workflow: str, version: str, what: str) -> dict[str, Any]:
    with connect(given(ctx)) as api:
        _owned(api, workflow, version)
        found: dict[str, Any] = api.get("versions", version, what)
    return found


def _owned(api: Client, workflow: str, version: str) -> None:
    """Raise `InvalidRequest` where `version` is another workflow's."""
    owner = api.get("versions", version)
    if workflow not in (owner["workflow"], owner["workflow_id"]):
        reason = f"{version} is a version of {owner['workflow']}, not of {workflow}"
        raise InvalidRequest(where="VERSION", reason=reason)


def _of_files(old: Path, new: Path) -> dict[str, Any]:
    """The difference of two files; secret variables by their values, which are not shown."""
    from lastgood import dsl
    from lastgood.dsl.rules import RuleSettings
    from lastgood.dsl.telling import tell
    from lastgood.settings import load

    first, second = _read(old), _read(new)
    before, after = dsl.take_secrets(first)[1], dsl.take_secrets(second)[1]
    changed = frozenset(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return tell(first, second, changed, RuleSettings(load().rules))


def _is_file(name: str) -> bool:
    """Whether an argument is a file, or is called like one: then a missing file is told as that."""
    return Path(name).suffix in _SUFFIXES or Path(name).is_file()


def _read(path: Path) -> Any:
    from lastgood import dsl

    return dsl.parse(_bytes(path), source=path.name)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequest(where=str(path), reason=os.strerror(error.errno or 0)) from None


def show_lines(lines: list[dict[str, Any]]) -> None:
    """Print the lines of a difference, as the API gives them."""
    for line in lines:
        if line["role"] == "heading":
            output.write("\n" + output.paint(line["text"], "bold"))
            continue
        colour = _COLOURS.get(line["role"], "")
        start = output.paint("  " * line["indent"] + line["sign"] + " ", colour)
        detail = f" {output.printable(line['detail'])}" if line["detail"] else ""
        output.write(start + _marked(line, colour) + output.paint(detail, colour))


def _show_meaning(changes: list[dict[str, Any]]) -> None:
    """What the change rules say, for whom it matters most first; layout is left out."""
    told = [change for change in changes if change["tier"] != "LAYOUT"]
    if told:
        output.write("\n" + output.paint("What it means", "bold"))
    for change in told:
        colour = {"breaking": "red", "warning": "yellow"}.get(change["severity"], "")
        where = f" ({change['title']})" if change["title"] else ""
        said = output.flat(f"{change['sentence']}{where}")
        output.write(
            output.paint(f"{change['severity']:>9}  {change['tier'].lower()}: {said} [{change['rule']}]", colour)
        )
        witness = change["witness"]
        if witness and witness["request"]:
            request = json.dumps(witness["request"], ensure_ascii=False)
            request = request if len(request) <= _LONGEST_PROOF else f"{request[:_LONGEST_PROOF]}…"
            output.write(f"{'':>9}  proof: refused now, taken before: {request}")


def _marked(line: dict[str, Any], colour: str) -> str:
    """A line's text in `colour`, the words that differ in reverse; where there are no colours, between signs."""
    from lastgood.dsl.compare import runs, signed

    text, marks = line["text"], [(start, end) for start, end in line["marks"]]
    if not output.is_coloured():
        return output.printable(signed(text, marks, line["role"]))
    return "".join(
        output.paint(output.printable(part), f"{colour} reversed" if is_marked else colour)
        for part, is_marked in runs(text, marks)
    )


def _named(item: dict[str, Any]) -> str:
    """What a dependency is called: its telling values in one line."""
    return " ".join(
        str(value if not isinstance(value, list) else ", ".join(map(str, value)))
        for name, value in item.items()
        if name != "nodes" and value not in (None, "", [], False, True)
    )
