"""All change rules, by id."""

from collections.abc import Mapping
from typing import Final

from lastgood.dsl.rules import behaviour, integration, layout, request, response
from lastgood.dsl.rules.rule import Rule

THEMES: Final = (request, response, integration, behaviour, layout)
RULES: Final[Mapping[str, Rule]] = {id: rule for theme in THEMES for id, rule in theme.RULES.items()}
