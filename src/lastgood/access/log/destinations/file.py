"""A file that each checkpoint is appended to: on a disk of another machine, or one that only takes appends."""

import os
from dataclasses import dataclass
from pathlib import Path

from lastgood.access.log.destinations.delivery import Delivery
from lastgood.errors import CheckpointNotSent


@dataclass(frozen=True, slots=True)
class File:
    """The file at `path`; its folder must be there."""

    path: Path

    @property
    def name(self) -> str:
        """How it is called."""
        return f"file {self.path}"

    def send(self, delivery: Delivery) -> None:
        """Append the note and an empty line, in one write, unless the file ends with them."""
        data = f"{delivery.note}\n".encode()
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                size = os.fstat(handle).st_size
                if os.pread(handle, len(data), max(0, size - len(data))) == data:
                    return
                if os.write(handle, data) != len(data):
                    os.ftruncate(handle, size)
                    raise OSError(28, "no room for all of it")
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise CheckpointNotSent(destination=self.name, reason=error.strerror or str(error)) from None
