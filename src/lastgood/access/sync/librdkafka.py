"""What every use of Kafka begins with: the library, which is an optional part, and its settings."""

import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final

from lastgood.errors import InvalidSetting, KafkaMissing

SECONDS: Final = 10.0  # how long a broker is waited for
_FROM_ENVIRONMENT: Final = "env:"


def library() -> ModuleType:
    """confluent_kafka. Raises `KafkaMissing`."""
    try:
        import confluent_kafka
    except ImportError:
        raise KafkaMissing() from None
    return confluent_kafka


def from_environment(value: str, name: str) -> str:
    """`value`, or what the variable holds that ``env:NAME`` names. Raises `InvalidSetting` for the setting `name`."""
    if not value.startswith(_FROM_ENVIRONMENT):
        return value
    variable = value.removeprefix(_FROM_ENVIRONMENT)
    found = os.environ.get(variable, "")
    if not found:
        raise InvalidSetting(name=name, value=value, reason=f"the variable {variable} is not set")
    return found


def configured(brokers: str, given: Mapping[str, str], name: str, **ours: Any) -> dict[str, Any]:
    """The settings for librdkafka: `ours` win over what is `given` in lastgood.toml under `name`."""
    read = {key: from_environment(value, f"{name}.config.{key}") for key, value in given.items()}
    quiet = {"log_level": 0, "reconnect.backoff.max.ms": 10_000, "client.id": "lastgood"}
    return {**quiet, **read, "bootstrap.servers": brokers, **{key.replace("_", "."): v for key, v in ours.items()}}


def words(error: Exception) -> str:
    """What librdkafka says of an error, without what it was configured with."""
    first = error.args[0] if error.args else error
    text = getattr(first, "str", None)
    return str(text()) if callable(text) else type(error).__name__
