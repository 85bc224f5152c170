"""The overlay file: values of environment variables where a version is promoted to.

```yaml
environment:
  REGION: eu
  LIMIT: 200
  API_KEY: env:PROD_API_KEY      # of the surroundings of the command line
  CERT: file:secrets/prod.pem    # beside the overlay file; one line end at its end is left out
  OTHER_KEY: source:             # the value of the version that is promoted
```
A secret stands in it as a reference only."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from lastgood.dsl.limits import Limits
from lastgood.dsl.yamltext import load_yaml
from lastgood.errors import InvalidOverlay

How = Literal["written", "referred", "source"]
_LIMITS: Final = Limits(bytes=2**20)
SOURCE: Final = "source:"
_REFERENCES: Final = ("env:", "file:")


@dataclass(frozen=True, slots=True)
class Given:
    """A value that is overlaid. `how`: ``written`` in the overlay itself, ``referred`` to from it, or the one of the
    ``source``."""

    how: How
    value: Any = field(default=None, repr=False)


def read(text: str, *, source: str, fetch: Callable[[str, str], str]) -> dict[str, Given]:
    """What the overlay file `text` gives, by variable. `fetch` takes ``env`` or ``file`` and the rest of a reference,
    and gives the value; `source` is the file's name in messages. Raises `InvalidOverlay`, what `fetch` raises, and
    what reading YAML raises."""
    whole = load_yaml(text, source, _LIMITS)
    known = isinstance(whole, dict) and whole.keys() == {"environment"}
    values = whole["environment"] if known else None
    if not isinstance(values, dict):
        reason = "it has one key, `environment`, with the values by the names of variables"
        raise InvalidOverlay(source=source, where="the file", reason=reason)
    return {str(name): _given(str(name), value, source, fetch) for name, value in values.items()}


def _given(name: str, value: Any, source: str, fetch: Callable[[str, str], str]) -> Given:
    if value is None or isinstance(value, list):
        raise InvalidOverlay(source=source, where=name, reason="it has no value that a variable can have")
    if not isinstance(value, str):
        return Given("written", value)
    if value == SOURCE:
        return Given("source")
    if value.startswith(_REFERENCES):
        kind, _, rest = value.partition(":")
        return Given("referred", fetch(kind, rest))
    return Given("written", value)
