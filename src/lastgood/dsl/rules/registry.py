"""All change rules, by id."""

from collections.abc import Mapping
from typing import Final

from lastgood.dsl.rules import behaviour, caller, integration, layout
from lastgood.dsl.rules.rule import Rule

TIERS: Final = (caller, integration, behaviour, layout)
RULES: Final[Mapping[str, Rule]] = caller.RULES | integration.RULES | behaviour.RULES | layout.RULES
