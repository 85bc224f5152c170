"""`Document` → text."""

from typing import Any, Final

import orjson
import yaml

from lastgood.dsl.document import Document

_NO_WRAP: Final = 2**31 - 1
_BREAKS: Final = frozenset("\x85\u2028\u2029")


def to_yaml(document: Document) -> str:
    """The document as a file that Dify imports, keys sorted as in Dify's own exports, lines not wrapped."""
    return write_yaml(document.data)


def write_yaml(value: Any, *, sort_keys: bool = True, width: int = _NO_WRAP) -> str:
    """Plain data (JSON values) as YAML that reads back as the same; lines are wrapped at `width`."""
    text: str = yaml.dump(value, Dumper=_DUMPER, allow_unicode=True, width=width, sort_keys=sort_keys)
    return text


def to_json(document: Document) -> str:
    """The document as indented JSON, keys sorted."""
    return orjson.dumps(document.data, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2).decode() + "\n"


def _dumper(base: Any) -> Any:
    """`base`, a YAML dumper, with what a document needs."""

    class Dumper(base):  # type: ignore[misc]  # libyaml's, or PyYAML's own
        def ignore_aliases(self, data: Any) -> bool:
            return True  # Dify's own exports hold no aliases

        def represent_str(self, text: str) -> Any:
            # Unescaped, PyYAML's own writer turns these line breaks into spaces.
            style = None if _BREAKS.isdisjoint(text) else '"'
            return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, Dumper.represent_str)
    return Dumper


# libyaml where PyYAML was built with it, else PyYAML's own writer.
_DUMPER: Final = _dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper))
