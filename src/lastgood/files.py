"""What makes files outlive a crash of the machine."""

import os
from pathlib import Path


def settle(folder: Path) -> None:
    """Put the names of the files in `folder` on the disk; what is in a file, `os.fsync` of that does. Raises
    `OSError`."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
