"""`Document` → text."""

from typing import Any

import orjson
import yaml
from yaml.cyaml import CSafeDumper

from lastgood.dsl.document import Document

_NO_WRAP = 2**31 - 1


class _Dumper(CSafeDumper):
    """Writes shared parts out in full: Dify's own exports hold no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def to_yaml(document: Document) -> str:
    """The document as a file that Dify imports, keys sorted as in Dify's own exports, lines not wrapped."""
    text: str = yaml.dump(document.data, Dumper=_Dumper, allow_unicode=True, width=_NO_WRAP)
    return text


def to_json(document: Document) -> str:
    """The document as indented JSON, keys sorted."""
    return orjson.dumps(document.data, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2).decode() + "\n"
