"""Whether the version to go to would work: looked at before anything moves.

`gathering` learns the facts, each check is a function of them in a module of its own, and `examination` has the list
of checks."""

from lastgood.release.preflight.examination import CHECKS, examine

__all__ = ["CHECKS", "examine"]
