"""Files that callers hand in: descriptions of remote ones, as Dify's API takes them."""

import mimetypes
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from graphon.file import File, FileTransferMethod, FileType


class UnusableFile(ValueError):
    """A file description that cannot be used, in a sentence."""


def file_of(given: Mapping[str, Any]) -> File:
    """The file that `given` (``{type, transfer_method: "remote_url", url}``) describes. Raises `UnusableFile`."""
    if given.get("transfer_method") != FileTransferMethod.REMOTE_URL:
        raise UnusableFile(
            "the embedded engine keeps no uploads: give files with transfer_method remote_url and a url"
        )
    url = given.get("url") or given.get("remote_url")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise UnusableFile("a file needs a url that starts with http:// or https://")
    name = unquote(PurePosixPath(urlsplit(url).path).name) or "file"
    kind = given.get("type")
    return File(
        file_type=FileType(kind) if kind in set(FileType) else FileType.CUSTOM,
        transfer_method=FileTransferMethod.REMOTE_URL,
        remote_url=url,
        filename=name,
        extension=PurePosixPath(name).suffix or ".bin",
        mime_type=mimetypes.guess_type(name)[0] or "application/octet-stream",
    )


def with_files(value: Any, kind: str) -> Any:
    """An input's `value` with the files in it made, if its type `kind` holds any. Raises `UnusableFile`."""
    if kind == "file" and isinstance(value, Mapping):
        return file_of(value)
    if kind == "file-list" and isinstance(value, list):
        return [file_of(item) for item in value]
    return value
