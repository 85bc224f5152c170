"""`dify`: the one command ``workflow:rollback``; every other is handed to the next `dify` on PATH."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from lastgood.cli import output
from lastgood.errors import NothingLive

COMMAND = "workflow:rollback"
_NO_SUCH_PROGRAM = 127


def main() -> NoReturn:
    """The entry point of the `dify` script."""
    args = sys.argv[1:]
    if args[:1] == [COMMAND]:
        sys.exit(rollback(args[1:]))
    hand_over(args)


def rollback(args: Sequence[str]) -> int:
    """``dify workflow:rollback``: point the live channel back, ask nothing, and give the exit code."""
    asked = _parser().parse_args(args)
    from lastgood.cli.client import Given, connect
    from lastgood.cli.main import report
    from lastgood.cli.moves import LIVE, find_channel, send_rollback, warn_of

    try:
        with connect(Given()) as api:
            before = find_channel(api, asked.workflow_id, LIVE)
            if before["version"] is None:
                raise NothingLive(channel=LIVE, workflow=asked.workflow_id)
            body = {"to": asked.version_id, "reason": asked.reason}
            moved = send_rollback(api, asked.workflow_id, before, body)
        output.write(f"Successfully rolled back to version {moved['move']['to']}")
        sys.stdout.flush()
        return warn_of(moved)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        output.reader_has_gone()
    except Exception as error:
        return report(error)


def hand_over(args: Sequence[str]) -> NoReturn:
    """Become the next `dify` on PATH, with `args`."""
    program = next_dify(Path(sys.argv[0]), os.environ.get("PATH", os.defpath))
    if program is None:
        said = f"dify {args[0]}" if args else "dify"
        output.warn(
            f"lastgood: `{output.flat(said)}` is a command of Dify's own `dify`, and none is on PATH after this one; "
            f"Lastgood's has only {COMMAND}."
        )
        sys.exit(_NO_SUCH_PROGRAM)
    os.execv(program, [str(program), *args])  # noqa: S606 - what the user asked for


def next_dify(own: Path, path: str) -> Path | None:
    """The first `dify` of the search path `path` behind this one (`own`); any, where `own` is not on it.

    Only what stands behind is looked at, so that two of Lastgood's never hand a command to each other for ever."""
    found = [Path(folder or ".") / "dify" for folder in path.split(os.pathsep)]
    ours = [place for place, program in enumerate(found) if program.resolve() == own.resolve()]
    behind = found[ours[0] + 1 :] if ours else found
    return next(
        (p for p in behind if p.resolve() != own.resolve() and p.is_file() and os.access(p, os.X_OK)),
        None,
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        output.warn(f"lastgood: {message}; try `dify {COMMAND} --help`.")
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=f"dify {COMMAND}",
        description="Point the live channel of a workflow back to a version. Asks nothing. Exit codes: 0 done, "
        "1 refused or failed, 2 wrong usage, 3 moved, but the version failed verification.",
        epilog=f"Examples:\n  dify {COMMAND} --workflow-id wf-abc123 --version-id v-20240401-01",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--workflow-id", required=True, metavar="WORKFLOW", help="id (wf-…) or name")
    parser.add_argument("--version-id", required=True, metavar="VERSION", help="id of the version (v-…)")
    parser.add_argument("--reason", default="", help="why, for the log")
    return parser


if __name__ == "__main__":
    main()
